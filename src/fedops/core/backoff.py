"""How long to wait before the next try: twice as long after each failure in a row, up to a cap."""

from __future__ import annotations

from collections.abc import Iterator


def pause_after(failures: int, first: float, cap: float) -> float:
    """Seconds to wait after so many failures in a row, of which there was one at least."""
    return min(first * 2.0 ** min(failures - 1, 60), cap)


def pauses(first: float, cap: float) -> Iterator[float]:
    """The seconds to wait after the first failure, after the second, and so on without an end."""
    failures = 1
    while True:
        yield pause_after(failures, first, cap)
        failures += 1
