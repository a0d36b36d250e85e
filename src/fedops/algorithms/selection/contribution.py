"""``contribution``: the devices that promise the most value for the time that the round takes.

    ucb_i = max(0, v_i - min v + c * sqrt(ln R / N_i))                  c = exploration * max |v|

    of all times tau: the m devices with the highest ucb among those with t <= tau;
    chosen is the tau, and with it the m devices, with the largest  sum of ucb / sqrt(tau)

``v_i`` is what a round of the device was worth on average, ``N_i`` the number of its rounds, ``R`` the round,
``t`` the seconds that a round takes it. A round lasts as long as its slowest device, so a slow one is chosen
only if it is worth the wait. (With tau in place of its root, the few fastest devices would take most rounds,
and the model would learn too little from the others.)

Before that, places go to the devices whose turn it is by the fairness floor. If one of them is slow, the
round is slow anyway, and the slowest of those that waited long come along, so that slow rounds stay few.

A device with an integrity flag comes after all others, unless more than half of the candidates have one: what
all are compared with is then not known to be honest, and no flag counts. Who never was invited counts as the
best that is known, who has no value otherwise as the median; who has no time, as the median. Upper confidence
bounds: Auer et al. 2002.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedops.algorithms.selection.fairness import ITS_TURN, due_now, due_rounds, turn_bound
from fedops.algorithms.selection.latency import percentile, seconds_of, seconds_parts, seconds_text
from fedops.algorithms.selection.options import option
from fedops.algorithms.selection.outcome import Indices, Numbers, Selection, everyone
from fedops.algorithms.selection.pool import Pool, best, filled
from fedops.algorithms.selection.selector import RoundAhead
from fedops.core.contracts import Candidate

#: How many times are tried as the end of a round.
_ENDS = 24
#: Who has less than this share of the fairness floor before its turn has waited long.
LONG_WAIT = 0.5


def upper_confidence(values: Numbers, rounds: Numbers, round_: int, width: float) -> Numbers:
    """``v + width * sqrt(ln R / N)``: what a device may be worth, given how often it was seen."""
    bound: Numbers = values + width * np.sqrt(np.log(max(round_, 1)) / np.maximum(rounds, 1.0))
    return bound


def within_best_end(worth: Numbers, seconds: Numbers, count: int, already: float = 0.0) -> Indices:
    """Indices of those done by the end at which the ``count`` of highest worth are best for the time.

    ``already``: how long the round lasts in any case.
    """
    order = np.argsort(seconds, kind="stable")
    if count <= 0 or count >= len(order):
        return order
    sizes = np.unique(np.geomspace(count, len(order), _ENDS).round().astype(np.int64))
    in_time = seconds[order]
    sizes = np.unique(np.searchsorted(in_time, in_time[sizes - 1], side="right"))  # ties come along
    ends, by_time = np.maximum(in_time[sizes - 1], already), worth[order]
    sums = [np.partition(by_time[:size], -count)[-count:].sum() for size in sizes]
    found = int(sizes[int(np.argmax(np.array(sums) / np.sqrt(ends)))])
    return order[:found]


@dataclass(frozen=True)
class ContributionSelector:
    """What updates were worth, and how fast they come."""

    #: How much a device that was seen seldom gains: the bonus, as a share of the largest value.
    exploration: float = option(1.0, least=0.0)
    #: The percentile of the known times beyond which a device is slow, and waits for a slow round.
    slow_percentile: float = option(40.0, least=0.0, most=100.0)
    #: Every device without a flag is invited within this many times the rounds that it takes to invite
    #: each once.
    fairness: float = option(3.0, least=1.0)
    #: The same later, when the run is as old as two such turns: what each device adds counts then, and no
    #: longer how fast the model comes on.
    late_fairness: float = option(1.5, least=1.0)

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
        last, value = pool.column("last_invited"), pool.column("value")
        known = seconds_of(pool)
        seconds = filled(known, 1.0)
        trusted = _trusted(pool)
        worth, bonus = self._worth(pool, value, np.isnan(last) & np.isnan(value), ahead)
        factor = self._floor(ahead)
        turns = np.where(trusted, due_rounds(last, ahead, factor), np.inf)
        due = due_now(turns, ahead, max(wanted, 0), rng, seconds)
        soon = ahead.number + LONG_WAIT * turn_bound(ahead, factor)
        along = self._along(turns, seconds, due, wanted - len(due), soon)
        others = np.flatnonzero(trusted & ~np.isin(np.arange(len(pool)), [*due, *along]))
        left = wanted - len(due) - len(along)
        already = seconds[[*due, *along]].max(initial=0.0)
        near = others[within_best_end(worth[others], seconds[others], left, already)]
        free = [int(near[i]) for i in best(worth[near], left, rng)]
        flagged = np.flatnonzero(~trusted)
        last_resort = [int(flagged[i]) for i in best(worth[flagged], left - len(free), rng)]
        picked = [*due, *along, *free, *last_resort]
        end = float(seconds[picked].max(initial=0.0))
        lowest = float(worth[free].min(initial=np.inf))
        said = _Sentences(
            pool, set(picked), due, along, worth, known, seconds, end, lowest, trusted
        )
        parts = {"value": value, "exploration": bonus, **seconds_parts(pool, known)}
        return Selection(pool.devices, picked, said.of, worth, parts)

    def _worth(
        self, pool: Pool, value: Numbers, new: npt.NDArray[np.bool_], ahead: RoundAhead
    ) -> tuple[Numbers, Numbers]:
        """The upper confidence bound above the least value, and how much of it is the bonus."""
        rounds = np.maximum(pool.column("rounds_scored"), pool.column("rounds_invited"))
        known = filled(value, 1.0)
        width = self.exploration * float(np.abs(known).max(initial=0.0))
        bound = upper_confidence(known, rounds, ahead.number, width)
        least = known.min() if np.ptp(known) > 0 else 0.0
        worth = np.maximum(0.0, bound - least)
        return np.where(new, worth.max(initial=0.0), worth), bound - known

    def _floor(self, ahead: RoundAhead) -> float:
        """Within how many times the rounds that it takes to invite each once."""
        young = ahead.number - ahead.first < 2 * turn_bound(ahead, self.fairness)
        return self.fairness if young else min(self.fairness, self.late_fairness)

    def _along(
        self, turns: Numbers, seconds: Numbers, due: list[int], places: int, soon: float
    ) -> list[int]:
        """Who shares a slow round: slow devices that waited long, the slowest first."""
        slow = percentile(seconds, self.slow_percentile)
        if places <= 0 or not (seconds[due] > slow).any():
            return []
        able = (seconds > slow) & (turns <= soon)
        able[due] = False
        found = np.flatnonzero(able)
        return [int(i) for i in found[np.argsort(-seconds[found], kind="stable")][:places]]


def _trusted(pool: Pool) -> npt.NDArray[np.bool_]:
    """Those without a flag; all, when more than half have one."""
    found = np.array([not one.flags for one in pool.candidates])
    return found if 2 * found.sum() >= len(pool) else np.ones(len(pool), dtype=np.bool_)


@dataclass(frozen=True)
class _Sentences:
    """Why each was chosen, or was not."""

    pool: Pool
    picked: Set[int]
    due: Sequence[int]
    along: Sequence[int]
    worth: Numbers
    #: As it is known, and with the median where it is not.
    known: Numbers
    seconds: Numbers
    #: How long the round lasts, and the lowest score that was chosen for what it is worth.
    end: float
    last: float
    trusted: npt.NDArray[np.bool_]

    def of(self, i: int) -> str:
        flags = self.pool.candidates[i].flags
        if self.trusted[i]:
            ignored = "; flagged, but so are more than half, so that no flag counts"
            return self._by_worth(i) + (ignored if flags else "")
        how = "chosen all the same, there are no others" if i in self.picked else "not chosen"
        return f"{how}: flagged for {flags[0].kind} ({flags[0].reason})"

    def _by_worth(self, i: int) -> str:
        if i in self.due:
            return ITS_TURN
        if i in self.along:
            return "the round is slow anyway: slow devices share it"
        what = f"score {self.worth[i]:.3g}"
        if i in self.picked:
            timed = not np.isnan(self.known).all()
            return f"{what} is among the highest{f' within {self.end:.3g} s' if timed else ''}"
        return f"{what}{self._why_not(i)}"

    def _why_not(self, i: int) -> str:
        if np.isposinf(self.last):
            return ": all places went to devices whose turn it is"
        if self.worth[i] < self.last:
            return ": others have a higher one"
        if self.seconds[i] > self.end:
            guessed = " (the median, as no time of it is known)" if np.isnan(self.known[i]) else ""
            long = seconds_text(self.pool.candidates[i], self.seconds[i])
            return f" does not make up for {long}{guessed}"
        if self.worth[i] == self.last:
            return ": chance decided among those with the same"
        return ": others are worth more for the time that the round takes"
