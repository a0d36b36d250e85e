"""Banzhaf values from random coalitions, each of which serves all clients (maximum sample reuse).

    beta_i = mean of U over coalitions with i - mean of U over coalitions without i

Each client takes part with probability 1/2, and no coalition is drawn twice. Right for Banzhaf alone: with
the weights of other values it would be unstable. Wang and Jia 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedops.algorithms.contribution.coalitions import Booleans, Floats, membership
from fedops.algorithms.contribution.estimate import Estimate, exact_estimate, sampled_estimate
from fedops.algorithms.contribution.game import BudgetExceeded, Game

#: Up to so many clients, coalitions are drawn from a list of all.
_LISTED = 16


def msr_banzhaf(game: Game, max_evaluations: int, rng: np.random.Generator) -> Estimate:
    """Banzhaf values from so many random coalitions."""
    if max_evaluations < 2:
        raise BudgetExceeded("'msr_banzhaf' needs 2 evaluations at least")
    return banzhaf_of_sample(game, draw_coalitions(game.players, max_evaluations, rng))


def draw_coalitions(players: int, count: int, rng: np.random.Generator) -> list[int]:
    """Different coalitions, each as likely as any other."""
    if players <= _LISTED:
        count = min(count, 1 << players)
        return [int(mask) for mask in rng.choice(1 << players, size=count, replace=False)]
    found: dict[int, None] = {}
    while len(found) < count:
        bits = rng.integers(0, 2, players)
        found.setdefault(sum(1 << player for player in range(players) if bits[player]))
    return list(found)


def banzhaf_of_sample(game: Game, coalitions: Sequence[int]) -> Estimate:
    """The estimate from these coalitions. A client that is in all or in none of them has the value 0."""
    payoffs = game.payoffs(coalitions)
    joined = membership(coalitions, game.players)
    table = np.stack([_difference(payoffs, joined[:, player]) for player in range(game.players)])
    unseen = 1.0 - len(coalitions) / 2.0**game.players
    if unseen <= 0:
        return exact_estimate("msr_banzhaf", table, game.evaluations)
    variances = [_variance(payoffs[:, 0], joined[:, player]) for player in range(game.players)]
    errors = np.sqrt(unseen * np.array(variances))
    return sampled_estimate("msr_banzhaf", table, errors, game.evaluations)


def _difference(payoffs: Floats, joined: Booleans) -> Floats:
    if joined.all() or not joined.any():
        return np.zeros(payoffs.shape[1])
    return np.asarray(payoffs[joined].mean(0) - payoffs[~joined].mean(0))


def _variance(payoffs: Floats, joined: Booleans) -> float:
    """Of the difference of two means; that of all payoffs where a side has too few."""
    sides = [payoffs[joined], payoffs[~joined]]
    return float(
        sum((side if len(side) > 1 else payoffs).var(ddof=1) / max(len(side), 1) for side in sides)
    )
