"""Long polls: who waits, and how they are woken.

Few at a time, so that a thousand who begin at once hold up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fedops.waiting import Timeout

T = TypeVar("T")
#: So many keys are woken together, and then there is a pause. Seconds.
GROUP = 10
PAUSE_SECONDS = 0.01


@dataclass(eq=False)
class Waiter:
    """One coroutine that waits. ``until`` must follow ``park``."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    leave: Callable[[Waiter], None]

    async def until(self, seconds: float) -> None:
        """Until somebody wakes this one, or the time is up."""
        timer = self.loop.call_later(seconds, self.resolve)
        try:
            await self.future
        finally:
            timer.cancel()
            self.leave(self)

    def resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


@dataclass
class _Parked:
    by_key: dict[Hashable, set[Waiter]] = field(default_factory=dict)
    line: deque[Waiter] = field(default_factory=deque)
    pumping: bool = False


class WakeUps:
    """Thread-safe; ``park`` is called in the loop of who waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._parked = _Parked()
        self._lock = threading.Lock()
        self.closed = False

    async def poll(
        self,
        key: Hashable,
        guard: contextlib.AbstractContextManager[Any],
        look: Callable[[bool], T | float],
        seconds: float,
    ) -> T:
        """What ``look`` finds, as soon as there is anything.

        It is called while ``guard`` is held: at once, when this key is woken, and at the end of the time, of
        which it is told. While it finds nothing it gives the seconds after which it wants to look again.
        """
        timeout = Timeout(seconds, clock=self._clock)
        while True:
            with guard:
                found = look(timeout.is_over or self.closed)
                if not isinstance(found, float):
                    return found
                waiter = self.park(key)
            await waiter.until(min(found, timeout.seconds_left))

    def park(self, key: Hashable) -> Waiter:
        """Somebody waits from now on: a ``wake`` after this is not missed."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop, loop.create_future(), lambda one: self._leave(key, one))
        with self._lock:
            self._parked.by_key.setdefault(key, set()).add(waiter)
        return waiter

    def _leave(self, key: Hashable, waiter: Waiter) -> None:
        with self._lock:
            found = self._parked.by_key.get(key, set())
            found.discard(waiter)
            if not found:
                self._parked.by_key.pop(key, None)

    def wake(self, keys: Iterable[Hashable]) -> None:
        """Let those who wait for these keys look again, the first of them at once."""
        with self._lock:
            parked = self._parked
            for key in keys:
                parked.line.extend(parked.by_key.pop(key, ()))
            if parked.pumping or not parked.line:
                return
            parked.pumping = True
            loop = parked.line[0].loop
        self._soon(loop, self._pump)

    def _pump(self) -> None:
        """Wake the next few (in the loop), and come back for the others."""
        with self._lock:
            line = self._parked.line
            group = [line.popleft() for _ in range(min(GROUP, len(line)))]
            self._parked.pumping = bool(line)
            loop = line[0].loop if line else None
        for waiter in group:
            self._soon(waiter.loop, waiter.resolve)
        if loop is not None:
            self._soon(loop, lambda: loop.call_later(PAUSE_SECONDS, self._pump))

    def close(self) -> None:
        """Let everybody go, now and from now on."""
        self.closed = True
        with self._lock:
            parked = self._parked
            waiters = [one for found in parked.by_key.values() for one in found] + [*parked.line]
            self._parked = _Parked()
        for waiter in waiters:
            self._soon(waiter.loop, waiter.resolve)

    @staticmethod
    def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop of that waiter is closed already
            loop.call_soon_threadsafe(call)
