"""What one update is found to be, by name, with the numbers as a sentence.

free_rider    it changed next to nothing, while others did
replay        it is the last change of the global model, sent back
noise         its direction has nothing to do with anything that others learn
sign_flipped  it goes against the others and helps no class

Each rule compares with the other clients of the round, so that a run in which all updates are small, all
alike, or all smooth is none of these. What comes out once may be chance: see ``integrity_history``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fedops.algorithms.integrity.update_evidence import UpdateEvidence

#: A change shorter than this share of the median is none.
LEAST_NORM = 0.005
#: How near to the last global change a replay is, as 1 - cosine, and how much nearer than the others are.
REPLAY_DISTANCE, REPLAY_NEARER = 0.02, 0.02
#: A client with this share of the round is like the last change by itself: only an exact copy counts.
DOMINANT, COPY_DISTANCE = 0.3, 1e-4
#: Directions of noise are nearly orthogonal: within so many standard deviations of 0, in so many dimensions.
NOISE_DEVIATIONS, NOISE_DIMENSIONS = 3.0, 1_000
#: The others must be aligned this many times better than noise, or nothing can be said.
NOISE_CONTRAST = 5.0
#: A flipped update is as much against the others as these go together, or nearly so; wrong labels oppose
#: them less. Where the others do not go together by this much, as near the end of a run, nothing is said.
OPPOSED_SHARE, TOGETHER = 0.8, 0.2
#: With fewer others, it is not known who goes against whom.
LEAST_OTHERS = 3
#: What share of the median gain is none.
NO_GAIN = 0.25


@dataclass(frozen=True)
class Finding:
    """What an update is found to be."""

    name: str
    evidence: str


@dataclass(frozen=True)
class _Case:
    """One update, and those it is compared with."""

    own: UpdateEvidence
    others: Sequence[UpdateEvidence]


def round_findings(evidence: Sequence[UpdateEvidence]) -> list[tuple[Finding, ...]]:
    """Of each update of a round, what it is found to be: nothing, for most."""
    return [
        _found(_Case(own, [*evidence[:i], *evidence[i + 1 :]])) for i, own in enumerate(evidence)
    ]


def _found(case: _Case) -> tuple[Finding, ...]:
    found = ((name, rule(case)) for name, rule in RULES.items())
    return tuple(Finding(name, sentence) for name, sentence in found if sentence)


def _free_rider(case: _Case) -> str | None:
    ratio = case.own.norm_ratio
    if ratio is None or ratio >= LEAST_NORM:
        return None
    if case.own.norm == 0:
        return "it returned the model as it was"
    return f"its update is {ratio:.1g} of the median norm"


def _replay(case: _Case) -> str | None:
    own = case.own
    if own.replay is None or own.replay_distance is None or own.norm == 0:
        return None
    typical = _median([one.replay for one in case.others if one.norm > 0])
    if own.share > DOMINANT or typical is None:
        near = own.replay_distance <= COPY_DISTANCE
    else:
        near = 1 - own.replay <= min(REPLAY_DISTANCE, REPLAY_NEARER * (1 - typical))
    if not near:
        return None
    others = "" if typical is None else f", that of the others is {typical:.2f}"
    return f"its update is the last change of the global model: their cosine is {own.replay:.4f}{others}"


def _noise(case: _Case) -> str | None:
    own = case.own
    known = [one for one in (own.alignment, own.replay, own.direction) if one is not None]
    if own.norm == 0 or own.dimensions < NOISE_DIMENSIONS:
        return None
    if own.alignment is None or len(known) < 2:
        return None
    limit = NOISE_DEVIATIONS / math.sqrt(own.dimensions)
    typical = _median([one.alignment for one in case.others])
    if max(map(abs, known)) > limit or typical is None or typical < NOISE_CONTRAST * limit:
        return None
    return (
        f"its update points nowhere: its cosine to the others' mean is {own.alignment:.4f}, as that of"
        f" random numbers would be, and theirs is {typical:.2f}"
    )


def _sign_flipped(case: _Case) -> str | None:
    own = case.own
    gains = [(own.promised_gain, "promised_gain"), (own.removal_gain, "removal_gain")]
    shares = [_share_of_median(case, gain, name) for gain, name in gains if gain is not None]
    typical = _median([one.alignment for one in case.others])
    if len(case.others) < LEAST_OTHERS or typical is None or typical < TOGETHER:
        return None
    if own.alignment is None or own.alignment > -OPPOSED_SHARE * typical:
        return None
    if not shares or max(shares) > NO_GAIN:
        return None
    return (
        f"its update goes against the others (cosine {own.alignment:.2f}, theirs is {typical:.2f}) and gains"
        f" {max(shares):.2f} of the median for the classes together"
    )


def _share_of_median(case: _Case, gain: float, name: str) -> float:
    typical = _median([getattr(one, name) for one in case.others])
    return gain / typical if typical is not None and typical > 0 else math.inf


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


RULES: dict[str, Callable[[_Case], str | None]] = {
    "free_rider": _free_rider,
    "replay": _replay,
    "noise": _noise,
    "sign_flipped": _sign_flipped,
}
