"""What stands before several servers: a TCP proxy that gives connections to them in turn, if they live."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Sequence
from typing import Self

_BLOCK = 1 << 16


class Balancer:
    """On a free port of loopback, in a thread of its own. ``given``: how many connections each got."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.given: dict[int, int] = dict.fromkeys(ports, 0)
        self._turns = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="balancer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(5.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, sock=self._listener)
        )
        self._loop.run_forever()
        server.close()
        pending = asyncio.all_tasks(self._loop)
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.close()

    def _end(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.stop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await self._connect()
        if there is not None:
            far_reader, far_writer = there
            await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        ports = list(self.given)
        first = next(self._turns) % len(ports)
        for port in ports[first:] + ports[:first]:
            with contextlib.suppress(OSError):
                found = await asyncio.open_connection("127.0.0.1", port)
                self.given[port] += 1
                return found
        return None


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry bytes until one side ends; then both do."""
    with contextlib.suppress(OSError):
        while piece := await source.read(_BLOCK):
            sink.write(piece)
            await sink.drain()
    sink.close()
