"""``oort``: devices whose examples still have a high loss and that are fast, and some that are new.

    utility  = n * sqrt(mean of squared losses)
    score    = utility, cut at a quantile and scaled to 0..1, + sqrt(0.1 ln(R) / L)
    score   *= (T / t)^a            for a device that needs t > T seconds

``R`` is the round, ``L`` the one in which the device replied last. A share of the places, which falls with
the rounds, goes to devices that never were invited, the faster the likelier. The others are drawn by their
scores from all whose score comes near that of the last place. Who was invited and never replied has the
median loss. Devices report a mean loss, which stands for the root of the mean square: it is at most that. T
is a fixed percentile of the known times; what adapts it over the rounds (the "pacer") would be a memory. And
no device is dropped for ever: there is a fairness floor, so wide that it decides on few places. It seeks
high losses, and so devices with wrong labels. Lai et al. 2021.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedops.algorithms.selection.fairness import ITS_TURN, due_now, due_rounds
from fedops.algorithms.selection.latency import penalty, percentile, seconds_of, seconds_parts
from fedops.algorithms.selection.options import option
from fedops.algorithms.selection.outcome import Indices, Numbers, Selection, everyone
from fedops.algorithms.selection.pool import Pool, filled
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

    #: The share of places for devices that never were invited, in the first round.
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
    #: Every device is invited within this many times the rounds that it takes to invite each once.
    fairness: float = option(10.0, least=1.0)

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
        turns = due_rounds(pool.column("last_invited"), ahead, self.fairness)
        due = due_now(turns, ahead, max(wanted, 0), rng, filled(seconds, 1.0))
        drawn = self._draw(pool, scores, slow, due, wanted - len(due), rng, ahead)
        parts |= {**seconds_parts(pool, seconds), "latency": slow}
        return Selection(
            pool.devices, drawn.picked, _Sentences(pool, scores, drawn).of, scores, parts
        )

    def _scores(
        self, pool: Pool, ahead: RoundAhead, slow: Numbers
    ) -> tuple[Numbers, dict[str, Numbers]]:
        """Of those that were invited before; NaN for the others."""
        replied, invited = pool.column("last_round"), pool.column("last_invited")
        last = np.where(np.isnan(replied), invited, replied)
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

    def _draw(
        self,
        pool: Pool,
        scores: Numbers,
        slow: Numbers,
        due: list[int],
        left: int,
        rng: np.random.Generator,
        ahead: RoundAhead,
    ) -> _Drawn:
        """Who is chosen for the places that are left by those whose turn it is."""
        free = np.ones(len(pool), dtype=np.bool_)
        free[due] = False
        new, old = np.flatnonzero(free & np.isnan(scores)), np.flatnonzero(free & ~np.isnan(scores))
        active = self._not_worn(pool, old, int(free.sum()) - left)
        explored = min(round(self._share(ahead.number) * left), len(new))
        explored = max(explored, min(left - len(active), len(new)))
        fresh = [int(new[i]) for i in draw(slow[new], explored, rng)]
        near = active[self._near(scores[active], left - explored)]
        used = [int(near[i]) for i in draw(scores[near], left - explored, rng)]
        worn = set() if len(active) == len(old) else set(old.tolist()) - set(active.tolist())
        return _Drawn(due, used, fresh, near, worn)

    def _share(self, round_: int) -> float:
        fallen = self.exploration * self.exploration_decay ** max(round_ - 1, 0)
        return max(self.least_exploration, fallen)

    def _near(self, scores: Numbers, count: int) -> Indices:
        """Those whose score comes near that of the last of ``count`` places; nobody for no place."""
        if count <= 0:
            return np.zeros(0, dtype=np.int64)
        if count >= len(scores):
            return np.arange(len(scores))
        last_place = np.partition(scores, -count)[-count]
        return np.flatnonzero(scores >= self.cut_off * last_place)

    def _not_worn(self, pool: Pool, old: Indices, spare: int) -> Indices:
        """Those that replied before, without the ones that did so too often."""
        if not self.most_rounds:
            return old
        taken = pool.column("rounds_taken")[old]
        over = np.flatnonzero(taken > self.most_rounds)
        most = min(int(0.3 * len(pool)), spare)
        if not len(over) or most <= 0:
            return old
        out = over[np.argsort(-taken[over], kind="stable")[:most]]
        return np.delete(old, out)


@dataclass(frozen=True)
class _Drawn:
    """Who was chosen, and among whom."""

    #: Their turn by the fairness floor; drawn by their scores; new.
    due: list[int]
    used: list[int]
    fresh: list[int]
    #: Those among whom was drawn by their scores.
    near: Indices
    #: Those that rest, because they replied in many rounds.
    worn: Set[int]

    @property
    def picked(self) -> list[int]:
        return [*self.due, *self.used, *self.fresh]


class _Sentences:
    """Why each was chosen, or was not."""

    def __init__(self, pool: Pool, scores: Numbers, drawn: _Drawn) -> None:
        self._pool, self._scores, self._drawn = pool, scores, drawn
        self._due, self._fresh = set(drawn.due), set(drawn.fresh)
        self._used, self._near = set(drawn.used), set(drawn.near.tolist())

    def of(self, i: int) -> str:
        if i in self._due:
            return ITS_TURN
        if np.isnan(self._scores[i]):
            how = "explored" if i in self._fresh else "not among those drawn to be explored"
            return f"was never invited: {how}"
        one = self._pool.candidates[i]
        silent = "" if one.rounds_taken or one.last_round is not None else " (it never replied)"
        return f"score {self._scores[i]:.3g}{silent}: {self._place(i)}"

    def _place(self, i: int) -> str:
        if i in self._used:
            return "drawn among the highest"
        if i in self._near:
            return "among the highest, others of which were drawn"
        if i in self._drawn.worn:
            taken = self._pool.candidates[i].rounds_taken
            return f"it replied in {taken} rounds and rests"
        if not self._used:
            return "all places went to new devices and to those whose turn it is"
        return "not among the highest"
