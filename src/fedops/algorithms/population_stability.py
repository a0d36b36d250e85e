"""The population stability index: how far the values of a feature have moved from what they were.

``PSI = sum over bins of (now - before) * ln(now / before)``, of the shares of the values in each bin. The
bins are the deciles of the values of before. Customary reading: below 0.1 nothing has moved, from 0.2 on
much has.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
#: The deciles make so many bins.
BINS = 10
#: So much is added to each count: no share is 0, whose logarithm would be infinite.
PSEUDO_COUNT = 0.5
#: What is by chance is exceeded by so many standard deviations once in a thousand times.
_DEVIATIONS = 3.0


def bin_edges(values: Floats) -> Floats:
    """The inner edges of the bins: the deciles, each once; ``len + 1`` bins, the outer ones open.

    Where all deciles are one value, that value has a bin of its own.
    """
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    if len(edges) == 1:
        return np.array([edges[0], np.nextafter(edges[0], np.inf)])
    return edges


def bin_counts(values: Floats, edges: Floats) -> Counts:
    """How many values lie in each bin; an edge belongs to the bin above it."""
    places = np.searchsorted(edges, values, side="right")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.int64)


def shares(counts: Counts) -> Floats:
    """The share of each bin, none of them 0."""
    smoothed = counts + PSEUDO_COUNT
    return np.asarray(smoothed / smoothed.sum(), dtype=np.float64)


def stability_index(before: Counts, now: Counts) -> float:
    """The index of two histograms with the same bins; 0: they have the same shares."""
    expected, actual = shares(before), shares(now)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def by_chance(bins: int, before: int, now: int) -> float:
    """What the index of so many values hardly exceeds when nothing has moved.

    Times the harmonic number of values it is distributed about as chi-squared with ``bins - 1`` degrees of
    freedom, whose mean that is and whose variance is twice that.
    """
    freedom = max(bins - 1, 1)
    spread = freedom + _DEVIATIONS * sqrt(2 * freedom)
    return spread * (1 / max(before, 1) + 1 / max(now, 1))


def most_moved(before: Sequence[Counts], now: Sequence[Counts]) -> tuple[float, float]:
    """The index of the feature that has moved most beyond chance, and what chance would bring there."""
    found = [
        (stability_index(b, n), by_chance(len(b), int(b.sum()), int(n.sum())))
        for b, n in zip(before, now, strict=True)
    ]
    return max(found, key=lambda one: one[0] - one[1], default=(0.0, 0.0))
