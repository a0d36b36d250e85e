"""Who may upload now: slots with a lease, first come first served, woken in small groups.

Everything here runs in one event loop. A holder is whatever its caller names: the id of an assignment.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from fedops.core.contracts import TransferSlot
from fedops.core.errors import Unavailable

SLOTS = 32
#: A slot whose holder sends nothing for so long is free again. Seconds.
LEASE_SECONDS = 15.0
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
    """The slots of one server."""

    def __init__(
        self,
        slots: int = SLOTS,
        *,
        lease: float = LEASE_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.slots = slots
        self.running = 0
        self._lease = lease
        self._jitter = jitter
        #: Until when each holder has its slot, and who waits, in the order they came.
        self._leases: dict[str, float] = {}
        self._line: dict[str, _Waiter] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._began: dict[str, float] = {}
        self._mean_seconds = 1.0

    async def acquire(self, holder: str, wait: float) -> TransferSlot:
        """A slot, after ``wait`` seconds at most. Who has one keeps it; who waited keeps its place."""
        if self._holds(holder):
            self._renew(holder)
            return TransferSlot(granted=True)
        waiter = self._line.setdefault(holder, _Waiter())
        if waiter.answer and not waiter.answer.done():
            waiter.answer.set_result(False)  # it asks anew: the call before is not heard any more
        answer = waiter.answer = asyncio.get_running_loop().create_future()
        self._grant()
        try:
            granted = await self._answered(answer, wait)
        except asyncio.CancelledError:  # who asked went away
            if answer.done() and answer.result():
                self.release(holder)
            self._step_aside(holder, waiter, answer)
            raise
        retry_after = 0.0 if granted else self._step_aside(holder, waiter, answer)
        return TransferSlot(granted=granted, retry_after=retry_after)

    def release(self, holder: str) -> None:
        """Its upload is over. Not having a slot is no error."""
        if self._leases.pop(holder, None) is not None:
            began = self._began.pop(holder, None)
            if began is not None:
                self._mean_seconds += 0.1 * (_now() - began - self._mean_seconds)
        self._line.pop(holder, None)
        self._grant()

    @contextmanager
    def transfer(self, holder: str) -> Iterator[Callable[[], None]]:
        """While an upload runs; what it gives is called when bytes came, and renews the lease.

        ``Busy`` without a slot when many are running already.
        """
        if not self._holds(holder) and self.running >= 2 * self.slots:
            raise Busy(self._retry_after(len(self._line)))
        self._renew(holder)
        self.running += 1
        try:
            yield lambda: self._renew(holder)
        finally:
            self.running -= 1

    # --- leases -------------------------------------------------------------------------------

    def _holds(self, holder: str) -> bool:
        return self._leases.get(holder, 0.0) > _now()

    def _renew(self, holder: str) -> None:
        if holder in self._leases:
            self._leases[holder] = _now() + self._lease

    def _free(self) -> int:
        now = _now()
        for holder in [holder for holder, until in self._leases.items() if until <= now]:
            del self._leases[holder]
            self._began.pop(holder, None)
        return self.slots - len(self._leases)

    def _grant(self) -> None:
        """Let in who is first, as far as there is room."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not self._line:
            return
        free = self._free()
        for holder in self._first(min(free, GROUP)):
            answer = self._line.pop(holder).answer
            now = _now()
            self._leases[holder], self._began[holder] = now + self._lease, now
            assert answer
            answer.set_result(True)
        if self._line:
            self._look_again(PAUSE_SECONDS if free > GROUP else self._until_next())

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

    def _until_next(self) -> float:
        """Until a lease ends by itself."""
        ends = min(self._leases.values(), default=_now() + self._lease)
        return max(PAUSE_SECONDS, ends - _now())

    def _look_again(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._grant)

    # --- the line -----------------------------------------------------------------------------

    async def _answered(self, answer: asyncio.Future[bool], wait: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                return await asyncio.shield(answer)
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
        expected = (ahead + 1) / self.slots * self._mean_seconds
        bounded = min(max(expected, _LEAST_SECONDS), _MOST_SECONDS)
        return bounded * (0.75 + 0.5 * self._jitter())


def _now() -> float:
    return asyncio.get_running_loop().time()
