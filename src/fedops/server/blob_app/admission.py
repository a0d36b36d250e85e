"""Who may upload now: the line for upload slots, first come first served, woken in small groups.

Everything here runs in one event loop. Who has a slot is in a ``SlotBook``, which other processes may share.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

from fedops.core.contracts import TransferSlot
from fedops.core.errors import Unavailable
from fedops.server.blob_app.slots_in_memory import SlotsInMemory
from fedops.server.protocol.slot_book import Holders, SlotBook

#: Who waits in line and does not ask again within so long after ``retry_after`` loses its place. Seconds.
AWAY_SECONDS = 15.0
#: At most so many are let in at once, and the next after a pause: answers to all would hold up the rest.
GROUP, PAUSE_SECONDS = 8, 0.01
_LEAST_SECONDS, _MOST_SECONDS = 0.5, 30.0


class Busy(Unavailable):
    """As many uploads are running as the server can serve well."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            f"the server takes in as many uploads as it can: ask for a slot in {retry_after:.0f} s"
        )
        self.retry_after = retry_after


@dataclass(eq=False)
class _Waiter:
    """A place in the line. ``answer`` is None while its holder is between two questions."""

    answer: asyncio.Future[bool] | None = None
    until: float = 0.0


class Admission:
    """The line of one process, and what is uploaded to it."""

    def __init__(
        self, book: SlotBook | None = None, *, jitter: Callable[[], float] = random.random
    ) -> None:
        self.running = 0
        self._book = book or SlotsInMemory()
        self._book.freed = self._grant
        self._jitter = jitter
        #: Who waits, in the order they came.
        self._line: dict[str, _Waiter] = {}
        #: For whom the book is being asked.
        self._asking: list[str] = []
        self._answer: Holders | None = None
        #: Whether something became free since it was asked.
        self._stale = False
        self._timer: asyncio.TimerHandle | None = None
        self._mean_seconds = 1.0

    async def acquire(self, holder: str, wait: float) -> TransferSlot:
        """A slot, after ``wait`` seconds at most. Who has one keeps it; who waited keeps its place."""
        if holder in await self._book.renew([holder]):
            return TransferSlot(granted=True)
        waiter = self._line.setdefault(holder, _Waiter())
        if waiter.answer and not waiter.answer.done():
            waiter.answer.set_result(False)  # it asks anew: the call before is not heard any more
        answer = waiter.answer = asyncio.get_running_loop().create_future()
        self._grant()
        try:
            granted = await self._answered(holder, answer, wait)
        except asyncio.CancelledError:  # who asked went away
            if answer.done() and answer.result():
                self.release(holder)
            self._step_aside(holder, waiter, answer)
            raise
        retry_after = 0.0 if granted else self._step_aside(holder, waiter, answer)
        return TransferSlot(granted=granted, retry_after=retry_after)

    def release(self, holder: str) -> None:
        """Its upload is over. Not having a slot is no error."""
        self._line.pop(holder, None)
        self._book.release(holder)
        self._grant()

    @asynccontextmanager
    async def transfer(self, holder: str) -> AsyncIterator[Callable[[], None]]:
        """While an upload runs; what it gives is called when bytes came, and keeps the slot.

        ``Busy`` without a slot when many are running already.
        """
        crowded = self.running >= 2 * self._book.slots
        if crowded and holder not in await self._book.renew([holder]):
            raise Busy(self._retry_after(len(self._line)))
        self._book.used(holder)
        self.running += 1
        began = _now()
        try:
            yield partial(self._book.used, holder)
        finally:
            self.running -= 1
            self._mean_seconds += 0.1 * (_now() - began - self._mean_seconds)

    # --- letting in ---------------------------------------------------------------------------

    def _grant(self) -> None:
        """Let in who is first, as far as there is room."""
        if self._asking:
            self._stale = True
            return
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._asking = self._first(GROUP)
        if self._asking:
            self._answer = self._book.take(self._asking)
            if self._answer.done():
                self._let_in(self._answer)
            else:
                self._answer.add_done_callback(self._let_in)
        elif self._line:
            self._look_again(self._book.until_free())

    def _let_in(self, answer: Holders) -> None:
        asked, self._asking, self._answer = self._asking, [], None
        stale, self._stale = self._stale, False
        granted = frozenset[str]() if answer.exception() else answer.result()
        for holder in granted:
            self._answer_yes(holder)
        if not self._line:
            return
        if len(granted) == len(asked):
            self._look_again(PAUSE_SECONDS)
        elif stale:
            self._grant()
        else:
            self._look_again(self._book.until_free())

    def _answer_yes(self, holder: str) -> None:
        waiter = self._line.pop(holder, None)
        if waiter and waiter.answer and not waiter.answer.done():
            waiter.answer.set_result(True)
        else:  # it went away while the book was asked
            self._book.release(holder)

    def _first(self, most: int) -> list[str]:
        """Who is present and first in line. Who stayed away loses its place."""
        now = _now()
        present: list[str] = []
        for holder, waiter in list(self._line.items()):
            if len(present) >= most:
                break
            if waiter.answer and not waiter.answer.done():
                present.append(holder)
            elif waiter.until <= now and waiter.answer is None:
                del self._line[holder]
        return present

    def _look_again(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(seconds, PAUSE_SECONDS), self._grant)

    # --- the line -----------------------------------------------------------------------------

    async def _answered(self, holder: str, answer: asyncio.Future[bool], wait: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                return await asyncio.shield(answer)
        if holder in self._asking and self._answer:  # it may just be given one
            await asyncio.wait([self._answer])
        return answer.done() and answer.result()

    def _step_aside(self, holder: str, waiter: _Waiter, answer: asyncio.Future[bool]) -> float:
        """Keep its place for a while. How long it should stay away."""
        ahead = list(self._line).index(holder) if holder in self._line else 0
        seconds = self._retry_after(ahead)
        if waiter.answer is answer:
            waiter.answer, waiter.until = None, _now() + seconds + AWAY_SECONDS
        return seconds

    def _retry_after(self, ahead: int) -> float:
        """When its turn may come, give or take a quarter, so that not all come at once."""
        expected = (ahead + 1) / self._book.slots * self._mean_seconds
        bounded = min(max(expected, _LEAST_SECONDS), _MOST_SECONDS)
        return bounded * (0.75 + 0.5 * self._jitter())


def _now() -> float:
    return asyncio.get_running_loop().time()
