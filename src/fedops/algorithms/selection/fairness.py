"""The fairness floor: every device is invited at least once in any ``ceil(factor * N / m)`` rounds.

A device is due in round ``last invited + bound``, one that never was invited as if it had been just before
the run's first round. Since a round invites ``m`` at most, waiting until the last moment could be too late:
of the devices by due round, the j-th must not find more than its share of places taken,

    must be invited now = max over j of (j - (due_j - now) * m).

A device that was away for longer than the bound is invited as soon as there is a place.
"""

from __future__ import annotations

import math

import numpy as np

from fedops.algorithms.selection.outcome import Numbers
from fedops.algorithms.selection.selector import RoundAhead

#: Why a device is chosen that is due.
ITS_TURN = "its turn: no device waits for longer than the fairness floor allows"


def turn_bound(ahead: RoundAhead, factor: float) -> int:
    """Within how many rounds each device has its turn."""
    return max(1, math.ceil(factor * ahead.devices / max(ahead.clients, 1)))


def due_rounds(last_invited: Numbers, ahead: RoundAhead, factor: float) -> Numbers:
    """The round in which each candidate must be invited at the latest; NaN: it never was before."""
    return np.nan_to_num(last_invited, nan=ahead.first - 1.0) + turn_bound(ahead, factor)


def due_now(
    due: Numbers, ahead: RoundAhead, places: int, rng: np.random.Generator, seconds: Numbers
) -> list[int]:
    """Indices of those that must be invited now, the longest overdue first.

    Of those due in the same round the slowest come first, so that slow devices share their rounds.
    """
    chance = rng.random(len(due))
    later = np.maximum(np.sort(due) - ahead.number, 0) * max(ahead.clients, 1)
    pressing = np.arange(1, len(due) + 1) - later
    count = int(np.clip(pressing.max(initial=0), 0, places))
    if not count:
        return []
    return [int(i) for i in np.lexsort((chance, -seconds, due))[:count]]
