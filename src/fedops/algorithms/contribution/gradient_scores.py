"""Scores that need no evaluation of a coalition: only the directions of the updates.

DIG-FL (first order)  phi_i = -p_i <gradient of the validation loss at w_t, w_i - w_t>,   p_i = n_i / sum of n
CGSV                  phi_i = cos(w_i - w_t, sum of p_j (w_j - w_t))
                      r <- a r + (1 - a) phi, at least 0.001, divided by its sum
                      share of the reward: tanh(b r_i) / max of tanh(b r_j)

DIG-FL costs one gradient; CGSV needs nothing and is deceived by whoever replays the last global change.
A client that returns the model as it was has 0 in both. Wang and others 2022 (DIG-FL); Xu and others 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedops.algorithms.contribution.coalitions import Floats
from fedops.algorithms.contribution.estimate import Estimate, exact_estimate
from fedops.algorithms.inner_products import Named, cosine, inner_products

#: No reputation falls below this before it is divided by the sum.
LEAST_REPUTATION = 1e-3


def dig_fl(
    updates: Sequence[Named], before: Named, weights: Sequence[float], gradients: Sequence[Named]
) -> Estimate:
    """``gradients``: of the validation loss at ``before``; behind it, if wanted, those of each class."""
    products = inner_products(updates, before, gradients)
    count = len(updates)
    shares = _shares(weights)
    table = -shares[:, None] * products[:count, count:]
    return exact_estimate("dig_fl", table, 0)


def cgsv(updates: Sequence[Named], before: Named, weights: Sequence[float]) -> Estimate:
    """Cosines to the weighted mean of all updates."""
    products = inner_products(updates, before, [])
    shares = _shares(weights)
    with_mean = products @ shares
    square = float(shares @ with_mean)
    cosines = [cosine(with_mean[i], products[i, i], square) for i in range(len(updates))]
    return exact_estimate("cgsv", np.array(cosines)[:, None], 0)


def reputations(previous: Floats, cosines: Floats, memory: float = 0.95) -> Floats:
    """CGSV's reputations after one more round; ``memory`` is what remains of those before."""
    renewed = np.maximum(memory * previous + (1 - memory) * cosines, LEAST_REPUTATION)
    return np.asarray(renewed / renewed.sum())


def reward_shares(reputation: Floats, beta: float = 1.0) -> Floats:
    """How much of the whole reward each client has earned, the best one all of it."""
    earned = np.tanh(beta * reputation)
    return np.asarray(earned / earned.max())


def _shares(weights: Sequence[float]) -> Floats:
    given = np.asarray(weights, np.float64)
    return np.asarray(given / given.sum())
