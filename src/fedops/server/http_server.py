"""The web server of a process: it begins once everything can, and ends in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from fedops.core.errors import FedOpsError
from fedops.server.edge.gate import Gate
from fedops.server.edge.watched_protocol import WatchedProtocol
from fedops.server.protocol.error_replies import as_shortage, log_trouble

logger = logging.getLogger("fedops.server")

#: How long requests that are under way may take when the server ends. Seconds.
GRACE_SECONDS = 3
#: Longer than our clients keep an idle connection, so that none is closed while one sends on it.
KEEP_ALIVE_SECONDS = 30
#: The largest message of a WebSocket: pages send clicks.
MESSAGE_BYTES = 1 << 20
_TICKS_A_SECOND = 10
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
    app: Gate,
    listener: socket.socket,
    backlog: int,
    *,
    name: str,
    proxies: Sequence[str] = (),
    let_go: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    ``backlog``: how many may wait to be let in. ``let_go`` answers those who wait for news. ``name``: what
    this process is called. ``proxies``: whose word counts on where a request comes from.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        backlog=backlog,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
        http=partial(WatchedProtocol, app.book),  # type: ignore[arg-type]
        ws_max_size=MESSAGE_BYTES,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
    )
    server = _Server(config, let_go, app)
    server.run(sockets=[listener])
    if not server.started:
        raise FedOpsError(f"the {name} could not start; see the log above")


class _Server(uvicorn.Server):
    """Ends in order: first those who wait for news are let go, then requests, then the rest."""

    def __init__(self, config: uvicorn.Config, let_go: Callable[[], None], gate: Gate) -> None:
        super().__init__(config)
        self._let_go = let_go
        self._gate = gate

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_A_SECOND == 0:
            self._gate.look(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_loop_failed)
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._let_go()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again at the end, and so cut off what ends our children.
        def handle(number: int, frame: FrameType | None) -> None:
            logger.info("ending on %s", signal.Signals(number).name)
            self.handle_exit(number, frame)

        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True  # a second signal hastens nothing: the end takes seconds anyway


def _loop_failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A connection that cannot be taken for want of open files is said once a minute, not once a second."""
    error = context.get("exception")
    lacking = as_shortage(error) if error is not None else None
    if lacking is None:
        loop.default_exception_handler(context)
    else:
        log_trouble(lacking)
