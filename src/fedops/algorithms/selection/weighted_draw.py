"""Drawing without replacement, each with a probability in proportion to its weight.

Each candidate's clock rings after an exponential time with its weight as rate; the first ones are drawn.
Who has no weight comes last, by chance. Efraimidis and Spirakis 2006. Cost: one sort.
"""

from __future__ import annotations

import numpy as np

from fedops.algorithms.selection.outcome import Numbers


def draw(weights: Numbers, count: int, rng: np.random.Generator) -> list[int]:
    """Indices of the ``count`` drawn, in the order in which they were."""
    waiting = rng.exponential(size=len(weights))
    with np.errstate(divide="ignore"):
        rings = np.where(weights > 0, waiting / weights, np.inf)
    order = np.lexsort((waiting, rings))
    return [int(i) for i in order[: max(count, 0)]]
