"""``tiers``: devices of about the same speed share a round, so that fast ones do not wait for slow ones.

    tiers by quantiles of t; one tier a round, each with the same probability; m of it uniformly

Who never was invited and has no time is invited first, to measure it; who was invited and has none counts as
the median. If the tier has too few devices, the nearest ones in time fill the round. After the tiers of TiFL
(Chai et al. 2020), without its credits: every tier stays equally likely, and with it, about, every device.
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
from fedops.algorithms.selection.pool import Pool, best, filled
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
        known = seconds_of(pool)
        new = np.isnan(known) & np.isnan(pool.column("last_invited"))
        seconds = np.where(new, np.nan, filled(known, 1.0))
        tier = self._tier_of(seconds, rng)
        turn = int(rng.choice(np.unique(tier[tier >= 0]))) if (tier >= 0).any() else -1
        # Never measured, then the tier, then the nearest; chance decides within each.
        distance = np.where(tier < 0, -1, np.abs(tier - turn)).astype(np.float64)
        picked = best(-distance, wanted, rng)
        parts = {**seconds_parts(pool, known), "tier": np.where(tier < 0, np.nan, tier + 1.0)}
        explain = partial(_sentence, pool, set(picked), tier, turn, known)
        return Selection(pool.devices, picked, explain, None, parts)

    def _tier_of(self, seconds: Numbers, rng: np.random.Generator) -> Indices:
        """From 0, the fastest; -1 where there is none."""
        known = np.flatnonzero(~np.isnan(seconds))
        order = known[np.lexsort((rng.random(len(known)), seconds[known]))]
        tier = np.full(len(seconds), -1, dtype=np.int64)
        tier[order] = np.arange(len(order)) * self.tiers // max(len(order), 1)
        return tier


def _sentence(
    pool: Pool, chosen: Set[int], tier: Indices, turn: int, known: Numbers, i: int
) -> str:
    if tier[i] < 0:
        how = "invited to measure it" if i in chosen else "not yet, others like it were drawn"
        return f"was never invited, no time of it is known: {how}"
    unknown = np.isnan(known[i])
    time = "no time known" if unknown else seconds_text(pool.candidates[i], known[i])
    place = f"tier {tier[i] + 1} ({time})"
    if tier[i] == turn:
        if i in chosen:
            return f"{place}, whose turn it is"
        drawn = any(tier[one] == turn for one in chosen)
        who = "others of it were drawn" if drawn else "new devices took all places"
        return f"{place}, whose turn it is: {who}"
    how = "fills the round" if i in chosen else "waits"
    return f"{place} {how}: it is the turn of tier {turn + 1}"
