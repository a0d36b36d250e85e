"""Who takes part in a round: selectors, stateless functions of what is known of the candidates.

A selector gives a reason for each client it chooses. What it may remember is in the candidates, so that a
run continued by another process selects as the one before would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fedops.core.contracts import Candidate


class Selector(Protocol):
    """Chooses the clients of a round."""

    def select(
        self, candidates: Sequence[Candidate], wanted: int, rng: np.random.Generator
    ) -> dict[str, str]:
        """Up to ``wanted`` of the candidates: device name to the reason why."""
        ...


class UniformSelector:
    """Every candidate with the same probability, without replacement."""

    def select(
        self, candidates: Sequence[Candidate], wanted: int, rng: np.random.Generator
    ) -> dict[str, str]:
        names = sorted(candidate.device for candidate in candidates)
        if len(names) <= wanted:
            return dict.fromkeys(names, f"all {len(names)} available clients are needed")
        drawn = sorted(rng.choice(len(names), size=wanted, replace=False))
        reason = f"drawn uniformly: {wanted} of {len(names)} available clients"
        return {names[i]: reason for i in drawn}
