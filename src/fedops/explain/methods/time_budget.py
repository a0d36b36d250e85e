"""How long explaining may take: the seconds of one round, and a small share of the time over the rounds."""

from __future__ import annotations

import time
from collections.abc import Callable


class OutOfTime(Exception):
    """The time is over. What is finished by now is kept."""


class Budget:
    """Seconds that run from the moment it is made."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._begin = clock()

    @property
    def spent(self) -> float:
        return self._clock() - self._begin

    def check(self) -> None:
        """Raise ``OutOfTime`` when the time is over."""
        if self.spent >= self.seconds:
            raise OutOfTime


#: Unused time is saved up for this many seconds at most.
_MOST_SAVED = 5.0


class Pace:
    """Earns a share of the time that goes by, and spends what explanations took."""

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share, self._clock = share, clock
        self._last: float | None = None
        self._saved = 0.0

    def begin(self) -> bool:
        """A round is to be explained. False: earlier ones took more than their share, so be brief."""
        now = self._clock()
        if self._last is not None:
            self._saved = min(self._saved + self._share * (now - self._last), _MOST_SAVED)
        self._last = now
        return self._saved >= 0

    def spend(self, seconds: float) -> None:
        """What the explanation took."""
        self._saved -= seconds
