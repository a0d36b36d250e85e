"""``round-robin``: who was invited longest ago, those first who never were.

    score = rounds since the last invitation

Needs only the rounds of invitations. Every device has its turn in ``ceil(N / m)`` rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedops.algorithms.selection.outcome import Selection, everyone
from fedops.algorithms.selection.pool import Pool, best
from fedops.algorithms.selection.selector import RoundAhead
from fedops.core.contracts import Candidate


@dataclass(frozen=True)
class RoundRobinSelector:
    """One after the other."""

    measures_time: ClassVar[bool] = False

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
        waited = ahead.number - np.nan_to_num(pool.column("last_invited"), nan=-1.0)
        picked = best(waited, wanted, rng)
        least, chosen = waited[picked].min(initial=np.inf), set(picked)

        def explain(i: int) -> str:
            last = pool.candidates[i].last_invited
            when = "was never invited" if last is None else f"was invited last in round {last}"
            if i in chosen:
                return f"its turn: {when}"
            equal = "chance decided among those that waited as long"
            return f"{equal if waited[i] == least else 'others waited longer'}: {when}"

        return Selection(pool.devices, picked, explain, waited)
