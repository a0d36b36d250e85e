"""Choosing the clients of a round: the selector is asked pool after pool, the best pool first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedops.algorithms.selection.outcome import Selection
from fedops.algorithms.selection.selector import RoundAhead, Selector
from fedops.core.contracts import Candidate, SelectionDecision


@dataclass
class Choice:
    """Who was chosen, in what order of pools, and who was left aside without being looked at."""

    selections: list[Selection] = field(default_factory=list)
    aside: list[Candidate] = field(default_factory=list)

    @property
    def chosen(self) -> dict[str, str]:
        """Device to the reason why."""
        return {device: why for one in self.selections for device, why in one.chosen}

    def decisions(self) -> Iterator[SelectionDecision]:
        """One for each candidate."""
        for one in self.selections:
            yield from one.decisions()
        for candidate in self.aside:
            yield SelectionDecision(
                device=candidate.device, chosen=False, reason=_aside_because(candidate)
            )


def draw_clients(
    selector: Selector,
    pools: Sequence[Sequence[Candidate]],
    count: int,
    ahead: RoundAhead,
    rng: np.random.Generator,
) -> Choice:
    """``count`` clients with the reason for each: of the first pool, then of the next, as far as needed.

    Raises:
        Invalid: the selector is of a package, and fails.
    """
    found = Choice()
    for pool in filter(None, pools):
        left = count - sum(len(one.picked) for one in found.selections)
        if left > 0:
            found.selections.append(selector.select(pool, left, rng, ahead))
        else:
            found.aside += pool
    return found


def _aside_because(candidate: Candidate) -> str:
    if candidate.busy_with is not None:
        return f"works for run {candidate.busy_with}: those that are free were enough"
    return "was asked in this round before: those that were not are enough"
