"""How much explanations of the same probes differ: between rounds, and between local and global model.

On raw maps: the cosine, the Jaccard index of the top tenth of cells, and Spearman's rank correlation.
Two flat maps are the same (1); a flat one and another have nothing in common (0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TOP = 0.1
WORST = 0.125
#: A series needs this many values before a jump can be told from its usual course.
WARM_UP = 2
#: A jump is at least this many times the usual distance, and at least this much more.
TIMES, LEAST = 2.0, 0.1
_MEMORY = 10


@dataclass(frozen=True)
class Similarity:
    """Means over the samples that were compared."""

    cosine: float
    jaccard: float
    spearman: float
    #: The mean 1 - cosine of the samples that changed most: what an alarm looks at, because a
    #: shortcut shows in the samples that have it, which may be few.
    worst: float
    samples: int


def compare(first: Array, second: Array) -> Similarity | None:
    """How alike two sets of maps [samples, ...] are. None without samples or with other sizes."""
    if len(first) == 0 or first.shape != second.shape:
        return None
    pairs = [(a.ravel(), b.ravel()) for a, b in zip(first, second, strict=True)]
    cosines = np.array([cosine(a, b) for a, b in pairs])
    few = max(1, round(WORST * len(pairs)))
    return Similarity(
        float(cosines.mean()),
        float(np.mean([jaccard(a, b) for a, b in pairs])),
        float(np.mean([spearman(a, b) for a, b in pairs])),
        float(1.0 - np.sort(cosines)[:few].mean()),
        len(pairs),
    )


def cosine(a: Array, b: Array) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if norms == 0.0:
        return _both_flat(not a.any(), not b.any())
    return float(np.clip(a @ b / norms, -1.0, 1.0))


def jaccard(a: Array, b: Array, share: float = TOP) -> float:
    """Of the cells in either top share, how many are in both. Cells without heat are in none."""
    first, second = _top(a, share), _top(b, share)
    if not first or not second:
        return _both_flat(not first, not second)
    return len(first & second) / len(first | second)


def spearman(a: Array, b: Array) -> float:
    ranks = [_ranks(values) for values in (a, b)]
    first, second = (r - r.mean() for r in ranks)
    norms = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    if norms == 0.0:
        return _both_flat(not first.any(), not second.any())
    return float(np.clip(first @ second / norms, -1.0, 1.0))


def is_jump(history: Sequence[float], distance: float) -> bool:
    """Whether a distance leaves the usual course of its series (the newest last).

    Models and their maps change much in the first rounds, and less and less later: a decline is usual.
    """
    if len(history) < WARM_UP:
        return False
    usual = float(np.median(history[-_MEMORY:]))
    return distance > max(TIMES * usual, usual + LEAST)


def _top(values: Array, share: float) -> set[int]:
    count = max(1, round(share * values.size))
    order = np.argsort(-values, kind="stable")[:count]
    lowest = values.min() if values.size else 0
    return {int(i) for i in order if values[i] > lowest}


def _ranks(values: Array) -> npt.NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    shared: npt.NDArray[np.float64] = (ends - (counts - 1) / 2.0)[places.ravel()]
    return shared


def _both_flat(first: bool, second: bool) -> float:
    return 1.0 if first and second else 0.0
