"""The bytes of a request as they come in, in pieces that are worth a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from fedops.core.errors import FedOpsError, Unavailable
from fedops.server.blob_app.http import Call, Disconnected
from fedops.server.protocol.refusals import TooLarge

#: A piece is handed on when it has so many bytes, or is so old: what came shall not only be in memory.
PIECE, PIECE_SECONDS = 1 << 20, 2.0
#: Who sends nothing for so long is cut off; what came is kept. Seconds.
STALL_SECONDS = 60.0


class Body:
    """The body of one request, at most ``limit`` bytes. Another task of the same loop may stop it."""

    def __init__(
        self,
        call: Call,
        limit: int,
        *,
        came: Callable[[], None] = lambda: None,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._call = call
        self._limit = limit
        self._came = came
        self._stall_seconds = stall_seconds
        self._end: Exception | None = None
        self._task: asyncio.Task[object] | None = None
        self._receiving = False
        self._heard = 0.0

    def stop(self, why: FedOpsError) -> None:
        """Let whoever reads it have what came, and then ``why``."""
        self._end = self._end or why
        if self._receiving and self._task:
            self._receiving = False
            self._task.cancel()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While it is read: a caller that stalls is cut off."""
        loop = asyncio.get_running_loop()
        self._task, self._heard = asyncio.current_task(), loop.time()
        self._timer = loop.call_later(self._stall_seconds, self._watch)
        try:
            yield
        finally:
            self._timer.cancel()
            self._task = None

    async def piece(self) -> list[bytes]:
        """About a megabyte, in the blocks it came in; empty at the end of the body.

        What came before it broke off is given first. Then, at each call: ``Disconnected`` when the caller
        went away, ``TooLarge`` at the first byte beyond the limit (the piece with it is not given), or why
        it was stopped.
        """
        clock = asyncio.get_running_loop().time
        began, size = clock(), 0
        blocks: list[bytes] = []
        while size < PIECE and clock() - began < PIECE_SECONDS and not self._call.body_read:
            block = await self._next()
            if block is None:
                break
            blocks.append(block)
            size += len(block)
        if self._end and (not size or isinstance(self._end, TooLarge)):
            raise self._end
        return blocks if size or self._call.body_read else await self.piece()

    async def _next(self) -> bytes | None:
        """The next block; None when there is none because of ``_end``."""
        message = None if self._end else await self._received()
        if message is None:
            return None
        if message["type"] == "http.disconnect":
            self._end = Disconnected()
            return None
        block: bytes = message.get("body", b"")
        self._call.body_read = not message.get("more_body", False)
        self._heard = asyncio.get_running_loop().time()
        self._came()
        self._limit -= len(block)
        if self._limit < 0:
            self._end = TooLarge("more bytes came than were announced; none beyond was kept")
            return None
        return block

    async def _received(self) -> MutableMapping[str, Any] | None:
        self._receiving = True
        try:
            return await self._call.receive()
        except asyncio.CancelledError:
            if self._end is None:
                raise
            task = asyncio.current_task()
            assert task
            task.uncancel()
            return None
        finally:
            self._receiving = False

    def _watch(self) -> None:
        left = self._heard + self._stall_seconds - asyncio.get_running_loop().time()
        if left <= 0 and self._receiving:
            self.stop(Unavailable("no bytes came for too long; what came is kept, go on with it"))
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(left if left > 0 else self._stall_seconds, self._watch)
