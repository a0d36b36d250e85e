"""A slow, distant or unreliable network in user space: a TCP proxy with a rate, a delay, cuts and freezes.

    with Shaper(port, rate=1e6, round_trip=0.3, cut_bytes=(20_000, 400_000), seed=1) as link: ...

All connections of a shaper share one link: each direction has its rate, as on a line. As a program it
prints ``{"port": ...}`` and goes on until its stdin ends: ``shaper.py 8600 --rate 200e6 --round-trip 0.1``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import socket
import struct
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

#: What a sender may take for sent although it still waits before the link. Bytes.
_BUFFER_BYTES = 1 << 18
_LARGEST_PIECE, _SMALLEST_PIECE = 1 << 16, 1 << 10
#: How much link time a piece takes at most, so that connections take turns. Seconds.
_PIECE_SECONDS = 0.01
#: Time that the link may make up for when the program was late. Seconds.
_CREDIT_SECONDS = 0.05
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Connection:
    """What passed in one connection. ``up``: from the client to the server. Bytes."""

    up: int = 0
    down: int = 0
    was_cut: bool = False
    is_open: bool = True
    #: It is reset when this many bytes have passed, up and down together.
    cut_at: int | None = None
    transports: list[asyncio.WriteTransport] = field(default_factory=list, repr=False)


@dataclass
class _Direction:
    """One way over the link."""

    name: str
    free_at: float = 0.0

    def reserve(self, size: int, rate: float | None, now: float) -> float:
        """When the last of ``size`` bytes has left, if they are sent as soon as the link is free."""
        if rate is None:
            return now
        self.free_at = max(self.free_at, now - _CREDIT_SECONDS) + 8 * size / rate
        return self.free_at


class Shaper:
    """A link between clients and one server, with a thread of its own.

    ``rate``: bits a second, each way; None: as fast as it goes. ``round_trip``: seconds, half of it each
    way; a new connection costs one, as a handshake does. ``cut_bytes``: each connection is reset after a
    number of bytes drawn from this range.
    """

    def __init__(
        self,
        target_port: int,
        *,
        target_host: str = "127.0.0.1",
        host: str = "127.0.0.1",
        rate: float | None = None,
        round_trip: float = 0.0,
        cut_bytes: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.rate, self.round_trip, self.cut_bytes = rate, round_trip, cut_bytes
        #: All connections so far, in the order in which they came.
        self.connections: list[Connection] = []
        #: Hears what passes, on the link's thread: the connection, the way and the bytes.
        self.overhear: Callable[[Connection, str, bytes], None] = lambda *_: None
        self._target = (target_host, target_port)
        self._random = random.Random(seed)
        self._directions = {name: _Direction(name) for name in ("up", "down")}
        self._is_cut = False
        #: Way -> with which bytes that way a connection is reset, counted from the begin.
        self._cut_at: dict[str, list[int]] = {"up": [], "down": []}
        self._loop = asyncio.new_event_loop()
        self._moving = asyncio.Event()
        self._moving.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = _listen(host)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True, name="shaper")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what a test does to it --------------------------------------------------------------

    @property
    def up(self) -> int:
        """Bytes that went from clients to the server so far."""
        return sum(one.up for one in list(self.connections))

    @property
    def down(self) -> int:
        return sum(one.down for one in list(self.connections))

    @property
    def cuts(self) -> int:
        """How many connections were reset on the way."""
        return sum(one.was_cut for one in list(self.connections))

    def cut(self) -> None:
        """Reset all connections, and every new one, until ``mend``."""
        self._is_cut = True
        self._call(self._reset_all)

    def cut_once(self) -> None:
        """Reset all connections that are open now; new ones pass."""
        self._call(self._reset_all)

    def cut_after(self, *counts: int, way: str = "up") -> None:
        """Reset the connection that carries the n-th byte that way from now, then the m-th from there, ..."""
        at = list(itertools.accumulate(counts, initial=self._passed(way)))
        self._cut_at[way] = at[1:]

    def _passed(self, way: str) -> int:
        return self.up if way == "up" else self.down

    def mend(self) -> None:
        self._is_cut = False
        self._call(self._moving.set)

    def freeze(self) -> None:
        """Let nothing pass and close nothing, as when a cable is out or a firewall forgets: half open."""
        self._call(self._moving.clear)

    def close(self) -> None:
        """End the link with all its connections."""
        if self._thread.is_alive():
            self._call(lambda: self._start(self._shut()))
            self._thread.join(5.0)

    # --- the link ----------------------------------------------------------------------------

    def _call(self, action: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(action)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._start(self._serve())
        self._loop.run_forever()
        self._loop.close()

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, sock=self._listener, limit=_BUFFER_BYTES
        )

    async def _shut(self) -> None:
        self._server.close()
        me = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not me]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)  # each resets its connection
        await asyncio.sleep(0.05)  # what was reset is closed a turn or two later
        self._loop.stop()

    def _reset_all(self) -> None:
        for connection in self.connections:
            self._reset(connection)

    def _reset(self, connection: Connection) -> None:
        if connection.is_open:
            connection.is_open, connection.was_cut = False, True
            for transport in connection.transports:
                _reset(transport)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(transports=[writer.transport])
        if self.cut_bytes is not None:
            connection.cut_at = self._random.randint(*self.cut_bytes)
        self.connections.append(connection)
        if self._is_cut:
            self._reset(connection)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(
                *self._target, limit=_BUFFER_BYTES
            )
        except OSError:
            _reset(writer.transport)
            return
        connection.transports.append(far_writer.transport)
        if not connection.is_open:
            _reset(far_writer.transport)
            return
        begun = self._loop.time()
        up = self._pass(connection, "up", reader, far_writer, begun + self.round_trip)
        down = self._pass(connection, "down", far_reader, writer, begun)
        try:
            await asyncio.gather(up, down)
        except (OSError, asyncio.CancelledError):  # one side broke it off, or this is the end
            for transport in connection.transports:
                _reset(transport)
        connection.is_open = False
        for transport in connection.transports:
            transport.close()

    async def _pass(
        self,
        connection: Connection,
        way: str,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        not_before: float,
    ) -> None:
        """Carry bytes one way until their end: onto the link at its rate, off it after the delay."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(self._pieces_on_the_way())
        taking = self._loop.create_task(self._take(way, source, line, not_before))
        try:
            await self._give(connection, way, line, sink)
        finally:
            taking.cancel()

    async def _take(
        self,
        way: str,
        source: asyncio.StreamReader,
        line: asyncio.Queue[tuple[float, bytes]],
        not_before: float,
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(self._piece_bytes()):
                await self._moving.wait()
                now = max(self._loop.time(), not_before)
                sent = self._directions[way].reserve(len(piece), self.rate, now)
                await self._until(sent)
                await line.put((sent + self.round_trip / 2, piece))
        await line.put((self._loop.time() + self.round_trip / 2, b""))

    async def _give(
        self,
        connection: Connection,
        way: str,
        line: asyncio.Queue[tuple[float, bytes]],
        sink: asyncio.StreamWriter,
    ) -> None:
        while True:
            due, piece = await line.get()
            await self._until(due)
            await self._moving.wait()
            if not piece:
                break
            left = self._left(connection, way)
            sink.write(piece[:left])
            self._count(connection, way, min(left, len(piece)))
            if self._cut_at[way] and self._passed(way) >= self._cut_at[way][0]:
                del self._cut_at[way][0]
            self.overhear(connection, way, piece[:left])
            await sink.drain()
            if left <= len(piece):
                await self._until(self._loop.time() + _CREDIT_SECONDS)  # let them arrive
                self._reset(connection)
                return
        if connection.is_open and sink.can_write_eof():
            sink.write_eof()

    def _left(self, connection: Connection, way: str) -> int:
        """How many bytes may still pass this way before the connection is cut."""
        left = sys.maxsize
        if connection.cut_at is not None:
            left = connection.cut_at - connection.up - connection.down
        if self._cut_at[way]:
            left = min(left, self._cut_at[way][0] - self._passed(way))
        return max(left, 0)

    def _count(self, connection: Connection, way: str, size: int) -> None:
        if way == "up":
            connection.up += size
        else:
            connection.down += size

    async def _until(self, when: float) -> None:
        seconds = when - self._loop.time()
        if seconds > 0:
            await asyncio.sleep(seconds)

    def _piece_bytes(self) -> int:
        if self.rate is None:
            return _LARGEST_PIECE
        return max(_SMALLEST_PIECE, min(_LARGEST_PIECE, int(self.rate / 8 * _PIECE_SECONDS)))

    def _pieces_on_the_way(self) -> int:
        """Enough for what is on the way at full rate, and some."""
        if self.rate is None:
            return 64
        return 8 + int(self.rate / 8 * self.round_trip / self._piece_bytes())


def _listen(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family, backlog=1024)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    listener.setblocking(False)
    return listener


def _reset(transport: asyncio.WriteTransport) -> None:
    """Close it so that the other side sees a reset, not an orderly end."""
    found = transport.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def main() -> None:
    """A shaper as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="of the server, on loopback")
    parser.add_argument("--rate", type=float, help="bits a second, each way")
    parser.add_argument("--round-trip", type=float, default=0.0, help="seconds")
    parser.add_argument("--cut-bytes", type=int, nargs=2, help="cut each connection after so many")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    cut = tuple(chosen.cut_bytes) if chosen.cut_bytes else None
    with Shaper(
        chosen.port,
        rate=chosen.rate,
        round_trip=chosen.round_trip,
        cut_bytes=cut,
        seed=chosen.seed,
    ) as link:
        print(json.dumps({"port": link.port}), flush=True)
        sys.stdin.read()
        print(json.dumps({"up": link.up, "down": link.down, "cuts": link.cuts}), flush=True)


if __name__ == "__main__":
    main()
