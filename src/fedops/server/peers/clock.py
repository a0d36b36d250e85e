"""The database's clock, kept in this process: what several Server Managers write must be of one time."""

from __future__ import annotations

import time
from collections.abc import Callable


class DatabaseClock:
    """POSIX seconds as the database has them. Until it was compared, this machine's."""

    def __init__(self, here: Callable[[], float] = time.time) -> None:
        self._here = here
        self._offset = 0.0

    def __call__(self) -> float:
        return self._here() + self._offset

    def compare(self, there: float, asked_at: float, answered_at: float) -> None:
        """The database said ``there``, at some moment between these two of this machine."""
        self._offset = there - (asked_at + answered_at) / 2
