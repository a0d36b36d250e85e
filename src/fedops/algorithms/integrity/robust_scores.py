"""How far an update is below its fellows: robust z-scores of one round.

    z_i = (x_i - median) / max(1.4826 MAD, floor),  from -6 to 6

MAD: the median distance to the median. Where nearly all clients agree, it is next to nothing and would turn
a small difference into a large score, so there is a floor: a quarter of the median, or 0.05 for a cosine.
A round with fewer than four updates has no score. In others, an update that is no training (it has a finding)
has -6, and the rest have scores if they are at least four.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedops.algorithms.inner_products import Floats
from fedops.algorithms.integrity.update_evidence import UpdateEvidence

#: No score is below or above this: what an update gets that is no training at all.
LIMIT = 6.0
#: With fewer, a median says nothing.
LEAST_COMPARED = 4
RELATIVE_FLOOR, COSINE_FLOOR = 0.25, 0.05
#: What a normal distribution's MAD is multiplied by, to be its standard deviation.
MAD_SCALE = 1.4826


def robust_z(
    values: Floats, reference: Floats, relative_floor: float, absolute_floor: float = 0.0
) -> Floats:
    """``values`` by median and MAD of ``reference``. Everything is 0 where these are all the same 0."""
    middle = float(np.median(reference))
    spread = MAD_SCALE * float(np.median(np.abs(reference - middle)))
    scale = max(spread, relative_floor * abs(middle), absolute_floor)
    if scale <= 0:
        return np.zeros(len(values))
    return np.asarray(np.clip((values - middle) / scale, -LIMIT, LIMIT))


def round_scores(
    evidence: Sequence[UpdateEvidence], is_training: Sequence[bool]
) -> list[float | None]:
    """Of each update: half its alignment, half what it gains. None: too few can be compared.

    Updates that are no training (``is_training``) have the least score, and nobody is compared with them.
    """
    if len(is_training) < LEAST_COMPARED:
        return [None] * len(is_training)
    kept = np.array(is_training, bool)
    if kept.sum() < LEAST_COMPARED:
        return [None if training else -LIMIT for training in is_training]
    alignment = _scored([one.alignment for one in evidence], kept, 0.0, COSINE_FLOOR)
    promised = _scored([one.promised_gain for one in evidence], kept, RELATIVE_FLOOR)
    removed = _scored([one.removal_gain for one in evidence], kept, RELATIVE_FLOOR)
    parts = [one for one in (alignment, _mean([promised, removed])) if one is not None]
    if not parts:
        return [None if training else -LIMIT for training in is_training]
    scores = np.mean(parts, axis=0)
    return [
        float(score) if training else -LIMIT
        for score, training in zip(scores, is_training, strict=True)
    ]


def _scored(
    values: Sequence[float | None],
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]],
    relative_floor: float,
    absolute_floor: float = 0.0,
) -> Floats | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    numbers = np.array(known)
    return robust_z(numbers, numbers[kept], relative_floor, absolute_floor)


def _mean(parts: Sequence[Floats | None]) -> Floats | None:
    known = [part for part in parts if part is not None]
    return np.asarray(np.mean(known, axis=0)) if known else None
