"""When each attempt was last heard. Kept in memory: after a restart the server has no attempt that lives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection


class EngineLiveness:
    """Thread-safe. Every call of a round engine is a sign of life."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._heard: dict[int, float] = {}
        self._lock = threading.Lock()

    def heard(self, attempt_id: int) -> None:
        """The attempt called."""
        with self._lock:
            self._heard[attempt_id] = self._monotonic()

    def silence(self, attempt_id: int) -> float:
        """Seconds since the attempt was heard, or since it was first asked about."""
        with self._lock:
            now = self._monotonic()
            return now - self._heard.setdefault(attempt_id, now)

    def forgive(self) -> None:
        """It was us who did not listen: everybody counts as heard now."""
        with self._lock:
            self._heard = dict.fromkeys(self._heard, self._monotonic())

    def keep(self, attempt_ids: Collection[int]) -> None:
        """Forget all others."""
        with self._lock:
            self._heard = {i: at for i, at in self._heard.items() if i in attempt_ids}
