"""The time an explanation may take. Asked before every pass through the model."""

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
