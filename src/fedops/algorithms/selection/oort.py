"""``oort``: devices whose examples still have a high loss and that are fast, and some that are new.

    utility  = n * sqrt(mean of squared losses)
    score    = utility, cut at a quantile and scaled to 0..1, + sqrt(0.1 ln(R) / L)
    score   *= (T / t)^a            for a device that needs t > T seconds

``R`` is the round, ``L`` the one in which the device replied last. A share of the places, which falls with
the rounds, goes to devices that never replied, the faster the likelier. The others are drawn by their
scores from all whose score comes near that of the last place. Devices report a mean loss, which stands for
the root of the mean square: it is at most that. T is a fixed percentile of the known times; what adapts it
over the rounds (the "pacer") would be a memory. It seeks high losses, and so devices with wrong labels.
Lai et al. 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from fedops.algorithms.selection.latency import penalty, percentile, seconds_of, seconds_parts
from fedops.algorithms.selection.options import option
from fedops.algorithms.selection.outcome import Indices, Numbers, Selection, everyone
from fedops.algorithms.selection.pool import Pool, best, filled
from fedops.algorithms.selection.selector import RoundAhead
from fedops.algorithms.selection.weighted_draw import draw
from fedops.core.contracts import Candidate


def statistical_utility(examples: Numbers, root_mean_square_loss: Numbers) -> Numbers:
    """How much there is to learn from a device: ``n * sqrt(mean of squared losses)``."""
    return examples * root_mean_square_loss


def staleness_bonus(round_: int, last: Numbers) -> Numbers:
    """``sqrt(0.1 ln(R) / L)``: the longer ago, the more. Rounds count from 1, so L is never 0."""
    bonus: Numbers = np.sqrt(0.1 * np.log(max(round_, 1)) / np.maximum(last, 1.0))
    return bonus


@dataclass(frozen=True)
class OortSelector:
    """High losses, fast devices, and a share of new ones."""

    #: The share of places for devices that never replied, in the first round.
    exploration: float = option(0.9, least=0.0, most=1.0)
    #: By this factor the share falls with each round.
    exploration_decay: float = option(0.98, least=0.0, most=1.0)
    #: Below this it does not fall.
    least_exploration: float = option(0.2, least=0.0, most=1.0)
    #: The percentile of the known times up to which a device is not penalised.
    preferred_percentile: float = option(30.0, least=0.0, most=100.0)
    #: The exponent of the penalty on slower devices.
    slow_exponent: float = option(2.0, least=0.0)
    #: Utilities beyond this quantile count as it, so that no outlier decides.
    clip_quantile: float = option(0.95, least=0.0, most=1.0)
    #: Whose score reaches this share of that of the last place has a chance.
    cut_off: float = option(0.95, least=0.0, most=1.0)
    #: Who replied in more rounds than this is left out, up to 30 % of the candidates; 0: nobody.
    most_rounds: int = option(0, least=0)

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
        slow = penalty(seconds, percentile(seconds, self.preferred_percentile), self.slow_exponent)
        scores, parts = self._scores(pool, ahead, slow)
        picked, new = self._pick(pool, scores, slow, wanted, rng, ahead)
        explain = partial(_sentence, set(picked), new, pool.column("rounds_taken"), scores)
        parts |= {**seconds_parts(pool, seconds), "latency": slow}
        return Selection(pool.devices, picked, explain, scores, parts)

    def _scores(
        self, pool: Pool, ahead: RoundAhead, slow: Numbers
    ) -> tuple[Numbers, dict[str, Numbers]]:
        """Of those that replied before; NaN for the others."""
        last = pool.column("last_round")
        losses = filled(pool.column("last_loss"), 0.0)
        utility = statistical_utility(filled(pool.column("examples"), 1.0), losses)
        known = ~np.isnan(last)
        if not known.any():
            return np.full(len(pool), np.nan), {"utility": np.where(known, utility, np.nan)}
        highest = np.quantile(utility[known], self.clip_quantile)
        lowest = utility[known].min()
        span = highest - lowest
        scaled = (np.minimum(utility, highest) - lowest) / span if span > 0 else 0.0 * utility
        bonus = staleness_bonus(ahead.number, last)
        scores = np.where(known, (scaled + bonus) * slow, np.nan)
        return scores, {"utility": np.where(known, utility, np.nan), "staleness": bonus}

    def _pick(
        self,
        pool: Pool,
        scores: Numbers,
        slow: Numbers,
        wanted: int,
        rng: np.random.Generator,
        ahead: RoundAhead,
    ) -> tuple[list[int], set[int]]:
        """Who is chosen, and which of them are new."""
        new, old = np.flatnonzero(np.isnan(scores)), np.flatnonzero(~np.isnan(scores))
        old = self._not_worn(pool, old, len(pool) - wanted)
        explored = min(round(self._share(ahead.number) * wanted), len(new))
        explored = max(explored, min(wanted - len(old), len(new)))
        fresh = [int(new[i]) for i in draw(slow[new], explored, rng)]
        used = [int(old[i]) for i in self._exploit(scores[old], wanted - explored, rng)]
        return [*used, *fresh], set(fresh)

    def _share(self, round_: int) -> float:
        fallen = self.exploration * self.exploration_decay ** max(round_ - 1, 0)
        return max(self.least_exploration, fallen)

    def _exploit(self, scores: Numbers, count: int, rng: np.random.Generator) -> list[int]:
        """``count`` of those near the last place's score. All of them, when there are no more."""
        if count <= 0 or not len(scores):
            return []
        ranked = best(scores, len(scores), rng)
        last_place = scores[ranked[min(count, len(ranked)) - 1]]
        near = [i for i in ranked if scores[i] >= self.cut_off * last_place]
        return [near[i] for i in draw(scores[near], count, rng)]

    def _not_worn(self, pool: Pool, old: Indices, spare: int) -> Indices:
        """Those that replied before, without the ones that did so too often."""
        taken = pool.column("rounds_taken")[old]
        over = np.flatnonzero(taken > self.most_rounds)
        most = min(int(0.3 * len(pool)), spare)
        if not self.most_rounds or not len(over) or most <= 0:
            return old
        out = over[np.argsort(-taken[over], kind="stable")[:most]]
        return np.delete(old, out)


def _sentence(picked: set[int], new: set[int], taken: Numbers, scores: Numbers, i: int) -> str:
    if i in new:
        return "has never replied: explored"
    if np.isnan(scores[i]):
        return "has never replied: others were explored first"
    if i in picked:
        return f"score {scores[i]:.3g} is among the highest"
    return f"score {scores[i]:.3g}: others were drawn, after {taken[i]:.0f} rounds of it"
