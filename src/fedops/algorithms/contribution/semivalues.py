"""Values by all coalitions: exact, at the cost of 2^n evaluations; and two that need n + 1.

    phi_i = sum over S without i of w(|S|) [U(S + i) - U(S)]

Shapley    w(k) = k! (n-k-1)! / n!              the values sum to v(N)
Banzhaf    w(k) = 2^-(n-1)                      they do not; the order of clients is safer under noise
Beta(a,b)  w(k) = B(k+b, n-1-k+a) / B(a,b)      a > 1, b = 1 favours small coalitions; (1,1) is Shapley
Leave-one-out   U(N) - U(N without i)
Individual      U(i) - U(empty)

Shapley 1953; Banzhaf 1965; Kwon and Zou 2022 (Beta Shapley); Wang and Jia 2023 (data Banzhaf).
"""

from __future__ import annotations

import math

import numpy as np

from fedops.algorithms.contribution.coalitions import Floats
from fedops.algorithms.contribution.estimate import Estimate, exact_estimate
from fedops.algorithms.contribution.game import BudgetExceeded, Game

#: More clients than this are more coalitions than anybody evaluates, or holds in memory.
MOST_PLAYERS = 20


def shapley_weights(players: int) -> Floats:
    """The weight of a coalition by its size, 0 to n - 1."""
    return np.array([1 / (players * math.comb(players - 1, size)) for size in range(players)])


def banzhaf_weights(players: int) -> Floats:
    """The weight of a coalition by its size, 0 to n - 1."""
    return np.full(players, 0.5 ** (players - 1))


def beta_weights(players: int, alpha: float, beta: float) -> Floats:
    """The weight of a coalition by its size, 0 to n - 1."""
    log_total = _log_beta(alpha, beta)
    return np.array(
        [
            math.exp(_log_beta(size + beta, players - 1 - size + alpha) - log_total)
            for size in range(players)
        ]
    )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def semivalues(payoffs: Floats, weights: Floats) -> Floats:
    """One row a client. ``payoffs``: of all coalitions, the row of a coalition being its bit mask."""
    players = len(weights)
    masks = np.arange(1 << players)
    sizes = np.bitwise_count(masks)
    rows = []
    for player in range(players):
        without = masks[masks >> player & 1 == 0]
        marginals = payoffs[without | 1 << player] - payoffs[without]
        rows.append(weights[sizes[without]] @ marginals)
    return np.stack(rows)


def shapley(game: Game) -> Estimate:
    """Exact Shapley values."""
    return _exact("shapley", game, shapley_weights(game.players))


def banzhaf(game: Game) -> Estimate:
    """Exact Banzhaf values."""
    return _exact("banzhaf", game, banzhaf_weights(game.players))


def beta_shapley(game: Game, alpha: float = 16.0, beta: float = 1.0) -> Estimate:
    """Exact Beta Shapley values; by default small coalitions count most."""
    return _exact("beta_shapley", game, beta_weights(game.players, alpha, beta))


def _exact(method: str, game: Game, weights: Floats) -> Estimate:
    if game.players > MOST_PLAYERS:
        raise BudgetExceeded(
            f"'{method}' evaluates all coalitions, which are too many with {game.players} clients"
        )
    table = semivalues(game.payoffs(range(1 << game.players)), weights)
    return exact_estimate(method, table, game.evaluations)


def leave_one_out(game: Game) -> Estimate:
    """What is lost without each client."""
    without = [game.grand ^ 1 << player for player in range(game.players)]
    payoffs = game.payoffs([game.grand, *without])
    return exact_estimate("leave_one_out", payoffs[0] - payoffs[1:], game.evaluations)


def known_leave_one_out(game: Game) -> Estimate | None:
    """The same, if the game has evaluated all that it takes, as pairs of coalitions and all of them do."""
    without = [game.grand ^ 1 << player for player in range(game.players)]
    return None if game.cost_of([game.grand, *without]) else leave_one_out(game)


def individual(game: Game) -> Estimate:
    """What each client achieves alone."""
    table = game.gains([1 << player for player in range(game.players)])
    return exact_estimate("individual", table, game.evaluations)
