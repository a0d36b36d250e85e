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
#: How every TLS connection begins: a record of the kind "handshake".
_HANDSHAKE = b"\x16"
#: How long a connection may take to say anything, and then to agree on TLS. Seconds.
FIRST_BYTE_SECONDS = 10.0
HANDSHAKE_SECONDS = 15.0
#: How long nobody is let in when there are no more file descriptors. Seconds.
_FULL_SECONDS = 0.5
_AT_ONCE = 64


class OnePort:
    """Lets connections in. It ends as an ``asyncio.Server`` does: ``close``, then ``wait_closed``."""

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        secure: MakeProtocol,
        plain: MakeProtocol,
    ) -> None:
        self._listener = listener
        self._context = context
        self._secure, self._plain = secure, plain
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
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.warning("nobody is let in for a moment: %s", error)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_FULL_SECONDS, self._resume)
                return
            task = self._loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._accept)

    async def _open(self, connection: socket.socket) -> None:
        """Find out which it is, and hand it over. Who says nothing, or no TLS that we know, is hung up on."""
        handed_over = False
        try:
            connection.setblocking(False)
            async with asyncio.timeout(FIRST_BYTE_SECONDS):
                first = await self._peek(connection)
            if first == _HANDSHAKE:
                handed_over = True
                await self._loop.connect_accepted_socket(
                    self._secure,
                    connection,
                    ssl=self._context,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                )
            elif first:
                handed_over = True
                await self._loop.connect_accepted_socket(self._plain, connection)
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            logger.debug("a connection did not come about: %s", error)
        finally:
            if not handed_over:
                connection.close()

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
