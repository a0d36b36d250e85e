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
Floats = npt.NDArray[np.float64]
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
    a, b = first.reshape(len(first), -1), second.reshape(len(second), -1)
    cosines = cosine(a, b)
    few = max(1, round(WORST * len(a)))
    return Similarity(
        float(cosines.mean()),
        float(jaccard(a, b).mean()),
        float(spearman(a, b).mean()),
        float(1.0 - np.sort(cosines)[:few].mean()),
        len(a),
    )


def cosine(a: Array, b: Array) -> Floats:
    """Of each row of ``a`` and the same row of ``b``."""
    return _cosine(a.astype(np.float64), b.astype(np.float64))


def spearman(a: Array, b: Array) -> Floats:
    """The correlation of the ranks in each row; equal values share the mean of their ranks."""
    first, second = (_ranks(values) for values in (a, b))
    middle = (a.shape[1] + 1) / 2
    return _cosine(first - middle, second - middle)


def jaccard(a: Array, b: Array, share: float = TOP) -> Floats:
    """Of the cells in either top share of a row, how many are in both. Cells without heat are in none."""
    first, second = _top(a, share), _top(b, share)
    either = (first | second).sum(1)
    both = (first & second).sum(1)
    alike = both / np.maximum(either, 1)
    return np.where(either == 0, 1.0, alike)


def is_jump(history: Sequence[float], distance: float) -> bool:
    """Whether a distance leaves the usual course of its series (the newest last).

    Models and their maps change much in the first rounds, and less and less later: a decline is usual.
    """
    if len(history) < WARM_UP:
        return False
    usual = float(np.median(history[-_MEMORY:]))
    return distance > max(TIMES * usual, usual + LEAST)


def _cosine(a: Floats, b: Floats) -> Floats:
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    flat = lengths[0] == 0, lengths[1] == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = a / lengths[0][:, None], b / lengths[1][:, None]
        found = np.clip((unit[0] * unit[1]).sum(1), -1.0, 1.0)
    alike: Floats = np.where(flat[0] | flat[1], (flat[0] & flat[1]).astype(np.float64), found)
    return alike


def _top(values: Array, share: float) -> npt.NDArray[np.bool_]:
    count = max(1, round(share * values.shape[1]))
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    marks = np.zeros(values.shape, np.bool_)
    np.put_along_axis(marks, order, True, axis=1)
    return np.asarray(marks & (values > values.min(axis=1, keepdims=True)))


def _ranks(values: Array) -> Floats:
    """Ranks from 1 in each row; equal values share the mean of theirs."""
    order = np.argsort(values, axis=1, kind="stable")
    in_order = np.take_along_axis(values, order, axis=1)
    rises = in_order[:, 1:] != in_order[:, :-1]
    edge = np.ones((len(values), 1), np.bool_)
    places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    first = np.maximum.accumulate(np.where(np.hstack([edge, rises]), places, 0), axis=1)
    ends = np.where(np.hstack([rises, edge]), places, values.shape[1])
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape, np.float64)
    np.put_along_axis(ranks, order, (first + last) / 2.0 + 1.0, axis=1)
    return ranks
