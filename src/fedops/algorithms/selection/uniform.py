"""``random``: every candidate with the same probability, without replacement.

    m of N candidates, each set with probability 1 / C(N, m)

Needs no history. It is the default: the expected update is that of all devices. McMahan et al. 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedops.algorithms.selection.outcome import Selection, everyone
from fedops.algorithms.selection.selector import RoundAhead
from fedops.core.contracts import Candidate


@dataclass(frozen=True)
class UniformSelector:
    """Every candidate has the same chance."""

    measures_time: ClassVar[bool] = False

    def select(
        self,
        candidates: Sequence[Candidate],
        wanted: int,
        rng: np.random.Generator,
        ahead: RoundAhead,
    ) -> Selection:
        names = sorted(candidate.device for candidate in candidates)
        if len(names) <= wanted:
            return everyone(names)
        drawn = [int(i) for i in sorted(rng.choice(len(names), size=max(wanted, 0), replace=False))]
        share = f"{len(drawn)} of {len(names)} available clients"
        said = {i: f"drawn uniformly: {share}" for i in drawn}
        return Selection(names, drawn, lambda i: said.get(i, f"not drawn: {share} were"))
