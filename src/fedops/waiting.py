"""Waiting by the clock of this process: for a time, until something is so, until a call is answered."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from fedops.core.errors import Unavailable

T = TypeVar("T")


class Timeout:
    """So many seconds from the moment when it is made; None: without an end."""

    def __init__(
        self, seconds: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = math.inf if seconds is None else clock() + seconds

    @property
    def seconds_left(self) -> float:
        """0.0 once it is over."""
        return max(self._end - self._clock(), 0.0)

    @property
    def is_over(self) -> bool:
        return self._clock() >= self._end


def wait_until(condition: Callable[[], T], seconds: float | None, *, every: float) -> T:
    """What ``condition`` gives once it is true, else at the end of the time; asked every so many seconds."""
    timeout = Timeout(seconds)
    while not (found := condition()) and not timeout.is_over:
        time.sleep(min(every, timeout.seconds_left))
    return found


def outlast(
    call: Callable[[], T],
    seconds: float,
    *,
    pauses: Iterable[float],
    say: Callable[[str], object],
) -> T:
    """What a call gives. While what it needs is out of reach it is made again, for so many seconds.

    ``pauses`` has no end. ``say`` is told why it waits, when that is another reason than before.

    Raises:
        Unavailable: it was out of reach all the time.
    """
    timeout, said = Timeout(seconds), ""
    for pause in pauses:
        try:
            return call()
        except Unavailable as error:
            if timeout.is_over:
                raise
            if error.message != said:
                say(error.message)
            said = error.message
        time.sleep(min(pause, timeout.seconds_left))
    raise AssertionError("the pauses ended")
