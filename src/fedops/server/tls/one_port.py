"""One port for TLS and for plain HTTP: the first byte of a connection says which of them it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import TypeAlias

logger = logging.getLogger("fedops.server")

MakeProtocol: TypeAlias = Callable[[], asyncio.Protocol]
#: Hears of a connection that is not open yet, and from which address. What it returns is called when it is
#: open, or never will be.
Watch: TypeAlias = Callable[[str, "Opening"], Callable[[], None]]
#: How every TLS connection begins: a record of the kind "handshake".
_HANDSHAKE = b"\x16"
#: How long a connection may take to say anything, and then to agree on TLS. Seconds.
FIRST_BYTE_SECONDS = 10.0
HANDSHAKE_SECONDS = 15.0
#: How long nobody is let in when there are no more file descriptors. Seconds.
_FULL_SECONDS = 0.5
_AT_ONCE = 64


class Opening:
    """A connection of which it is not known yet what it speaks, or that has not agreed on TLS."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        #: Whether asyncio closes the socket.
        self.handed_over = False
        self.task: asyncio.Task[None] | None = None

    def abort(self) -> None:
        """Hang up."""
        if self.task is not None:
            self.task.cancel()

    def is_closing(self) -> bool:
        return self.task is None or self.task.done()

    def get_write_buffer_size(self) -> int:
        return 0

    def over(self) -> None:
        if not self.handed_over:
            self.connection.close()


def _unwatched(_: str, __: Opening) -> Callable[[], None]:
    return lambda: None


def _say(error: OSError) -> None:
    logger.warning("nobody is let in for a moment: %s", error)


class OnePort:
    """Lets connections in. It ends as an ``asyncio.Server`` does: ``close``, then ``wait_closed``.

    ``say`` hears why nobody is let in for a moment, such as too many open files.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        secure: MakeProtocol,
        plain: MakeProtocol,
        watch: Watch = _unwatched,
        say: Callable[[OSError], None] = _say,
    ) -> None:
        self._listener = listener
        self._context = context
        self._secure, self._plain, self._watch = secure, plain, watch
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener)
        for task in self._opening:
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._say(error)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_FULL_SECONDS, self._resume)
                return
            self._begin(connection, str(address[0]))

    def _begin(self, connection: socket.socket, address: str) -> None:
        opening = Opening(connection)
        opening.task = task = self._loop.create_task(self._open(opening))
        self._opening.add(task)
        over = self._watch(address, opening)

        def done(task: asyncio.Task[None]) -> None:
            self._opening.discard(task)
            opening.over()
            over()

        task.add_done_callback(done)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._accept)

    async def _open(self, opening: Opening) -> None:
        """Find out which it is, and hand it over. Who says nothing, or no TLS that we know, is hung up on."""
        connection = opening.connection
        try:
            connection.setblocking(False)
            async with asyncio.timeout(FIRST_BYTE_SECONDS):
                first = await self._peek(connection)
            if first == _HANDSHAKE:
                opening.handed_over = True
                await self._loop.connect_accepted_socket(
                    self._secure,
                    connection,
                    ssl=self._context,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                )
            elif first:
                opening.handed_over = True
                await self._loop.connect_accepted_socket(self._plain, connection)
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            logger.debug("a connection did not come about: %s", error)

    async def _peek(self, connection: socket.socket) -> bytes:
        """The first byte, which stays to be read."""
        while True:
            with contextlib.suppress(BlockingIOError, InterruptedError):
                return connection.recv(1, socket.MSG_PEEK)
            await self._readable(connection)

    async def _readable(self, connection: socket.socket) -> None:
        ready = self._loop.create_future()
        self._loop.add_reader(connection, _done, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(connection)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
