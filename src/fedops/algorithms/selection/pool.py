"""The candidates of a selection as columns of numbers, in an order that does not depend on how they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from fedops.algorithms.selection.outcome import Numbers
from fedops.core.contracts import Candidate

_BY_NAME = attrgetter("device")


@dataclass(frozen=True)
class Pool:
    """Candidates by name. Draws go through it, so that a seed means the same whatever the order was."""

    candidates: Sequence[Candidate]
    devices: Sequence[str]

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Pool:
        ordered = sorted(candidates, key=_BY_NAME)
        return cls(ordered, [one.device for one in ordered])

    def __len__(self) -> int:
        return len(self.candidates)

    def column(self, name: str) -> Numbers:
        """A field of all candidates; NaN where it is not known."""
        return np.array(list(map(attrgetter(name), self.candidates)), dtype=np.float64)


def best(scores: Numbers, count: int, rng: np.random.Generator) -> list[int]:
    """The indices of the ``count`` highest scores, the highest first; chance decides among equals."""
    order = np.lexsort((rng.random(len(scores)), -scores))
    return [int(i) for i in order[: max(count, 0)]]


def filled(values: Numbers, otherwise: float) -> Numbers:
    """The values with the median of those that are known in place of the others."""
    known = values[~np.isnan(values)]
    return np.where(np.isnan(values), np.median(known) if len(known) else otherwise, values)
