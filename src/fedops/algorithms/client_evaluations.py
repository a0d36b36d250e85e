"""Leave-one-out values from what the clients themselves measure: none has a say in its own.

    d_ij = u_j(N) - u_j(N without i)    for every client j that evaluated, j not i
    phi_i = weighted mean over j of d_ij, by the examples that j evaluated on

N: the clients of a round; u_j: what a model achieves on the data of j. Of three others and more, nobody
counts for more than the middle one of them, and what is far from the others (beyond 3 robust standard
deviations of their weighted median) counts as if it were that far: one that lies moves a value by no more
than the others differ. To each evaluator no model is worse than the best by more than 10 times (the size of
that + 1): one that is ruined ruins no sum. The standard error is that of a weighted mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: A value needs so many others that evaluated; of so many on, one of them cannot move it as it likes.
LEAST_OTHERS, ROBUST_FROM = 2, 3
#: How far from the median a difference may be, in robust standard deviations.
FARTHEST = 3.0
_MAD_SCALE = 1.4826
_WORST = 10.0


def values_by_others(
    utilities: Floats, owners: Sequence[int], examples: Sequence[float]
) -> tuple[Floats, Floats]:
    """The value of each client, and its standard error.

    ``utilities``: one row for each evaluator; column 0 is the model of all clients, column i + 1 the one
    without client i. What an evaluator measured without itself is not looked at. ``owners``: which client
    each evaluator is.

    Raises:
        ValueError: a client has fewer than two others.
    """
    players, who = utilities.shape[1] - 1, np.array(owners)
    weights, found = np.array(examples, np.float64), []
    best = np.nanmax(utilities, axis=1, keepdims=True)
    utilities = np.maximum(utilities, best - _WORST * (np.abs(best) + 1.0))
    for player in range(players):
        others = who != player
        if others.sum() < LEAST_OTHERS:
            raise ValueError(f"{others.sum()} others evaluated, and it takes {LEAST_OTHERS}")
        differences = utilities[others, 0] - utilities[others, player + 1]
        found.append(robust_mean(differences, weights[others]))
    return np.array([mean for mean, _ in found]), np.array([error for _, error in found])


def robust_mean(numbers: Floats, weights: Floats) -> tuple[float, float]:
    """The weighted mean of numbers of which one may be a lie, and its standard error."""
    if len(numbers) >= ROBUST_FROM:
        weights = np.minimum(weights, np.sort(weights)[(len(weights) - 1) // 2])
        middle = weighted_median(numbers, weights)
        spread = _MAD_SCALE * weighted_median(np.abs(numbers - middle), weights)
        numbers = np.clip(numbers, middle - FARTHEST * spread, middle + FARTHEST * spread)
    total, count = float(weights.sum()), len(numbers)
    mean = float(weights @ numbers) / total
    squares = float(weights**2 @ (numbers - mean) ** 2)
    return mean, math.sqrt(count / (count - 1) * squares) / total


def weighted_median(numbers: Floats, weights: Floats) -> float:
    """The least of the numbers that has half of the weight up to it."""
    order = np.argsort(numbers, kind="stable")
    reached = np.cumsum(weights[order])
    return float(numbers[order][np.searchsorted(reached, reached[-1] / 2)])
