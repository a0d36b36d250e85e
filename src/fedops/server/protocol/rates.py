"""How much somebody may do in a minute: a bucket for each, which fills again by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

_MOST = 50_000


class Rates:
    """``per_minute`` for each key, and as much at once. Only the event loop uses it."""

    def __init__(
        self,
        per_minute: float,
        *,
        burst: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_minute / 60.0
        self._size = per_minute if burst is None else burst
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, key: str) -> float:
        """How long until there is one left, in seconds. 0: there is."""
        left = self._now(key, self._clock())
        return 0.0 if left >= 1.0 else (1.0 - left) / self._per_second

    def take(self, key: str, amount: float = 1.0) -> None:
        """So much was used. It may be more than is left: then others have to wait for longer."""
        now = self._clock()
        left = self._now(key, now) - amount
        if len(self._left) >= _MOST and key not in self._left:
            self._forget(now)
        self._left[key] = (left, now)

    def _now(self, key: str, now: float) -> float:
        left, at = self._left.get(key, (self._size, now))
        return min(self._size, left + (now - at) * self._per_second)

    def _forget(self, now: float) -> None:
        """Whoever has a full bucket need not be remembered; if all are at it, the oldest half goes."""
        kept = {key: one for key, one in self._left.items() if self._now(key, now) < self._size}
        if len(kept) >= _MOST:
            kept = dict(sorted(kept.items(), key=lambda item: item[1][1])[len(kept) // 2 :])
        self._left = kept
