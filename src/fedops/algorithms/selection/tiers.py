"""``tiers``: devices of about the same speed share a round, so that fast ones do not wait for slow ones.

    tiers by quantiles of t; one tier a round, each with the same probability; m of it uniformly

Who has no time yet is invited first, to measure it. If the tier has too few devices, the nearest ones in
time fill the round. After the tiers of TiFL (Chai et al. 2020), without its credits: every tier stays
equally likely, and with it, about, every device.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from fedops.algorithms.selection.latency import seconds_of, seconds_parts, seconds_text
from fedops.algorithms.selection.options import option
from fedops.algorithms.selection.outcome import Indices, Numbers, Selection, everyone
from fedops.algorithms.selection.pool import Pool, best
from fedops.algorithms.selection.selector import RoundAhead
from fedops.core.contracts import Candidate


@dataclass(frozen=True)
class TiersSelector:
    """One tier of speed a round."""

    #: Into how many tiers the devices are divided.
    tiers: int = option(5, least=1)

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
        tier = self._tier_of(seconds, rng)
        turn = int(rng.choice(np.unique(tier[tier >= 0]))) if (tier >= 0).any() else -1
        # Never measured, then the tier, then the nearest; chance decides within each.
        distance = np.where(tier < 0, -1, np.abs(tier - turn)).astype(np.float64)
        picked = best(-distance, wanted, rng)
        parts = {**seconds_parts(pool, seconds), "tier": np.where(tier < 0, np.nan, tier + 1.0)}
        explain = partial(_sentence, pool, set(picked), tier, turn, seconds)
        return Selection(pool.devices, picked, explain, None, parts)

    def _tier_of(self, seconds: Numbers, rng: np.random.Generator) -> Indices:
        """From 0, the fastest; -1 where no time is known."""
        known = np.flatnonzero(~np.isnan(seconds))
        order = known[np.lexsort((rng.random(len(known)), seconds[known]))]
        tier = np.full(len(seconds), -1, dtype=np.int64)
        tier[order] = np.arange(len(order)) * self.tiers // max(len(order), 1)
        return tier


def _sentence(
    pool: Pool, chosen: Set[int], tier: Indices, turn: int, seconds: Numbers, i: int
) -> str:
    if tier[i] < 0:
        return f"no time of it is known yet{'' if i in chosen else '; others were drawn'}"
    place = f"tier {tier[i] + 1} ({seconds_text(pool.candidates[i], seconds[i])})"
    if tier[i] == turn:
        return f"{place}, whose turn it is{'' if i in chosen else '; others were drawn'}"
    how = "fills the round" if i in chosen else "waits"
    return f"{place} {how}: it is the turn of tier {turn + 1}"
