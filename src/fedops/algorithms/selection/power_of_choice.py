"""``power-of-choice``: of some candidates drawn by their examples, those with the highest loss.

    draw d of N without replacement, p_k in proportion to n_k; of these take the m with the highest loss

The loss is the one that a device reported last (rpow-d), so nothing more travels. Who never was invited is
taken first; who was and has reported no loss, or has not said how many examples it has, counts as the
median. It seeks high losses, and so devices with wrong labels. Cho et al. 2022.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from fedops.algorithms.selection.options import option
from fedops.algorithms.selection.outcome import Numbers, Selection, everyone
from fedops.algorithms.selection.pool import Pool, best, filled
from fedops.algorithms.selection.selector import RoundAhead
from fedops.algorithms.selection.weighted_draw import draw
from fedops.core.contracts import Candidate


@dataclass(frozen=True)
class PowerOfChoiceSelector:
    """The highest losses among some that were drawn."""

    #: How many candidates are drawn for each client that is wanted.
    drawn_per_client: float = option(2.0, least=1.0)

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
        losses, examples = pool.column("last_loss"), filled(pool.column("examples"), 1.0)
        new = np.isnan(losses) & np.isnan(pool.column("last_invited"))
        drawn = draw(examples, round(self.drawn_per_client * wanted), rng)
        scores = np.full(len(pool), -np.inf)
        scores[drawn] = np.where(new, np.inf, filled(losses, 1.0))[drawn]
        picked = best(scores, wanted, rng)
        parts = {"loss": losses, "examples": examples}
        last = float(scores[picked].min(initial=np.inf))
        explain = partial(_sentence, set(drawn), set(picked), losses, scores, last)
        return Selection(pool.devices, picked, explain, scores, parts)


def _sentence(
    drawn: Set[int], picked: Set[int], losses: Numbers, scores: Numbers, last: float, i: int
) -> str:
    """``last``: the score of the last place."""
    if i not in drawn:
        return f"not among the {len(drawn)} that were drawn"
    if np.isposinf(scores[i]):
        loss = "was never invited, which comes before every loss"
    elif np.isnan(losses[i]):
        loss = f"has reported no loss and counts with {scores[i]:.4g}"
    else:
        loss = f"loss {losses[i]:.4g}"
    why = "others have a higher one" if scores[i] < last else "chance decided among equals"
    return f"drawn by its examples, {loss}{'' if i in picked else f': {why}'}"
