"""``stragglers``: slow devices are invited less often, and never dropped.

    slow   if t > theta = median(t) + k * MAD(t)
    weight = (theta / t)^a for a slow device, 1 for every other; m are drawn by their weights

MAD is the median distance from the median. The threshold is that of the first FedOps paper (Moon et al.
2024), which drops who is slow in the first round for good. Here a slow device loses only chances, regains
them with its speed, and has its turn within ``ceil(fairness * N / m)`` rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedops.algorithms.selection.fairness import ITS_TURN, due_now, due_rounds
from fedops.algorithms.selection.latency import penalty, seconds_of, seconds_parts, seconds_text
from fedops.algorithms.selection.options import option
from fedops.algorithms.selection.outcome import Numbers, Selection, everyone
from fedops.algorithms.selection.pool import Pool, filled
from fedops.algorithms.selection.selector import RoundAhead
from fedops.algorithms.selection.weighted_draw import draw
from fedops.core.contracts import Candidate


def slow_threshold(seconds: Numbers, deviations: float) -> float:
    """``median + k * MAD`` of the known times; infinite when nobody has one."""
    known = seconds[~np.isnan(seconds)]
    if not len(known):
        return float("inf")
    middle = float(np.median(known))
    return middle + deviations * float(np.median(np.abs(known - middle)))


@dataclass(frozen=True)
class StragglersSelector:
    """Uniform, but slow devices come up less often."""

    #: How many median deviations above the median a time is slow.
    deviations: float = option(3.0, least=0.0)
    #: The exponent of a slow device's weight.
    slow_exponent: float = option(2.0, least=0.0)
    #: Every device is invited within this many times the rounds that it takes to invite each once.
    fairness: float = option(3.0, least=1.0)

    measures_time: ClassVar[bool] = True

    def select(
        self,
        candidates: Sequence[Candidate],
        wanted: int,
        rng: np.random.Generator,
        ahead: RoundAhead,
    ) -> Selection:
        pool = Pool.of(candidates)
        if len(pool) <= wanted:
            return everyone(pool.devices)
        seconds = seconds_of(pool)
        theta = slow_threshold(seconds, self.deviations)
        weights = penalty(seconds, theta, self.slow_exponent)
        turns = due_rounds(pool.column("last_invited"), ahead, self.fairness)
        due = due_now(turns, ahead, max(wanted, 0), rng, filled(seconds, 1.0))
        others = np.setdiff1d(np.arange(len(pool)), due)
        drawn = [int(others[i]) for i in draw(weights[others], wanted - len(due), rng)]
        overdue, chosen = set(due), {*due, *drawn}

        def explain(i: int) -> str:
            if i in overdue:
                return ITS_TURN
            how = "drawn" if i in chosen else "not drawn"
            if weights[i] < 1:
                slow = f"{seconds_text(pool.candidates[i], seconds[i])} is slow (more than {theta:.3g} s)"
                return f"{how}: {slow}, so it is invited less often"
            return f"{how}, with the same chance as every device that is not slow"

        parts = {**seconds_parts(pool, seconds), "weight": weights}
        return Selection(pool.devices, [*due, *drawn], explain, weights, parts)
