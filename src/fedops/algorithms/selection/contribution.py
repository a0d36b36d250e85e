"""``contribution``: devices whose updates were worth most, in time, with an eye on those little is known of.

    ucb_i   = max(0, v_i - min v + c * sqrt(ln R / N_i))         c = exploration * max |v|
    score_i = ucb_i * min(1, T / t_i)^a

``v_i`` is what a round of the device was worth on average, ``N_i`` the number of its rounds, ``R`` the round,
``T`` a percentile of the known times. The ``m`` highest scores are chosen, after

- those whose turn it is by the fairness floor; the round waits for the slowest of them, so devices that are
  no slower lose nothing in it;
- those that never were invited, the fastest first (the warm-up).

A device with an integrity flag comes after all others. Who has no value yet counts as the median; as long as
nobody has one, the bonus and the times decide. Upper confidence bounds: Auer et al. 2002.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedops.algorithms.selection.fairness import due_now, due_rounds
from fedops.algorithms.selection.latency import penalty, percentile, seconds_of
from fedops.algorithms.selection.options import option
from fedops.algorithms.selection.outcome import Numbers, Selection, everyone
from fedops.algorithms.selection.pool import Pool, best, filled
from fedops.algorithms.selection.selector import RoundAhead
from fedops.core.contracts import Candidate


def upper_confidence(values: Numbers, rounds: Numbers, round_: int, width: float) -> Numbers:
    """``v + width * sqrt(ln R / N)``: what a device may be worth, given how often it was seen."""
    bound: Numbers = values + width * np.sqrt(np.log(max(round_, 1)) / np.maximum(rounds, 1.0))
    return bound


@dataclass(frozen=True)
class ContributionSelector:
    """What updates were worth, times how fast they come."""

    #: How much a device that was seen seldom gains: the bonus, as a share of the largest value.
    exploration: float = option(0.5, least=0.0)
    #: The percentile of the known times up to which a device is not penalised.
    preferred_percentile: float = option(40.0, least=0.0, most=100.0)
    #: The exponent of the penalty on slower devices.
    slow_exponent: float = option(1.0, least=0.0)
    #: Every device without a flag is invited within this many times the rounds that it takes to invite
    #: each once.
    fairness: float = option(3.0, least=1.0)

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
        trusted = np.array([not one.flags for one in pool.candidates])
        due = self._due(pool, trusted, ahead, wanted, rng)
        seconds = seconds_of(pool)
        slow = self._latency(seconds, due)
        ucb, value, bonus = self._worth(pool, ahead)
        unseen = np.isnan(pool.column("last_invited")) & np.isnan(pool.column("value"))
        scores = ucb * slow
        rank = np.where(unseen, np.inf, scores)
        rank[~trusted] = -np.inf
        rank[due] = np.inf
        picked = [*due, *(i for i in best(rank, len(pool), rng) if i not in set(due))][:wanted]
        parts = {"value": value, "exploration": bonus, "seconds": seconds, "latency": slow}
        said = _Sentences(pool, set(picked), set(due), unseen, scores)
        return Selection(pool.devices, picked, said.of, scores, parts)

    def _due(
        self,
        pool: Pool,
        trusted: npt.NDArray[np.bool_],
        ahead: RoundAhead,
        wanted: int,
        rng: np.random.Generator,
    ) -> list[int]:
        due = np.where(trusted, due_rounds(pool, ahead, self.fairness), np.inf)
        return due_now(due, ahead, max(wanted, 0), rng)

    def _latency(self, seconds: Numbers, due: list[int]) -> Numbers:
        """The factor of each; in a round that waits for a slow device, those that are no slower have 1."""
        preferred = percentile(seconds, self.preferred_percentile)
        waited_for = np.nan_to_num(seconds[due], nan=0.0).max(initial=0.0)
        return penalty(seconds, max(preferred, waited_for), self.slow_exponent)

    def _worth(self, pool: Pool, ahead: RoundAhead) -> tuple[Numbers, Numbers, Numbers]:
        """The upper confidence bound above the least value, and of what it is made: value and bonus."""
        value = pool.column("value")
        rounds = np.maximum(pool.column("rounds_scored"), pool.column("rounds_invited"))
        known = filled(value, 0.0)
        scale = float(np.abs(known).max(initial=0.0)) or 1.0
        width = self.exploration * scale
        bound = upper_confidence(known, rounds, ahead.number, width)
        return np.maximum(0.0, bound - known.min()), value, bound - known


@dataclass(frozen=True)
class _Sentences:
    """Why each was chosen, or was not."""

    pool: Pool
    picked: Set[int]
    due: Set[int]
    unseen: npt.NDArray[np.bool_]
    scores: Numbers

    def of(self, i: int) -> str:
        flags, chosen = self.pool.candidates[i].flags, i in self.picked
        if flags:
            how = "chosen all the same, there are no others" if chosen else "not chosen"
            return f"{how}: flagged for {flags[0].kind} ({flags[0].reason})"
        if i in self.due:
            return "its turn: no device waits for longer than the fairness floor allows"
        if self.unseen[i]:
            return f"was never invited{'' if chosen else '; others came first'}"
        if chosen:
            return f"score {self.scores[i]:.3g} is among the highest"
        return f"score {self.scores[i]:.3g}: others have a higher one, or their turn"
