"""An ASGI app on a free loopback port, in a thread of the test."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from fedops.server.edge.gate import Gate
from fedops.server.edge.watched_protocol import WatchedProtocol

_GRACE_SECONDS = 2.0
_SWEEP_SECONDS = 0.02


class _Server(uvicorn.Server):
    """Begins and ends at once: uvicorn itself looks ten times a second, and each test ends one."""

    def __init__(self, config: uvicorn.Config, gate: Gate | None) -> None:
        super().__init__(config)
        self._gate = gate
        self.up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()

    def end(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._end.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        self.up.set()
        sweeping = asyncio.ensure_future(self._sweep())
        await self._end.wait()
        sweeping.cancel()

    async def _sweep(self) -> None:
        while self._gate is not None:
            self._gate.look(asyncio.get_running_loop().time())
            await asyncio.sleep(_SWEEP_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        until = asyncio.get_running_loop().time() + _GRACE_SECONDS
        state = self.server_state
        while (state.connections or state.tasks) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.002)
        for task in state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@contextmanager
def serving(
    app: Any,
    lifespan: str = "on",
    port: int = 0,
    ws: Any = "none",
    certificate: Path | None = None,
) -> Iterator[int]:
    """Serve ``app``; gives its port (0: any free one). The connections of a gate are watched by it.

    ``certificate``: the file of one and its key, to serve by TLS.
    """
    gate = app if isinstance(app, Gate) else None
    watched: dict[str, Any] = {"http": partial(WatchedProtocol, gate.book)} if gate else {}
    if certificate is not None:
        watched["ssl_certfile"] = certificate
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        config = uvicorn.Config(app, lifespan=lifespan, ws=ws, log_level="warning", **watched)
        server = _Server(config, gate)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        assert server.up.wait(60)  # a busy machine
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.end()
            thread.join(10)
