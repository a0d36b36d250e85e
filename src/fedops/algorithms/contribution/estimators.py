"""Every method by its name, and which of them a budget allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fedops.algorithms.contribution import semivalues
from fedops.algorithms.contribution.estimate import Estimate
from fedops.algorithms.contribution.game import BudgetExceeded, Game
from fedops.algorithms.contribution.kernel_shap import kernel_shap
from fedops.algorithms.contribution.msr_banzhaf import msr_banzhaf
from fedops.algorithms.contribution.permutations import guided_permutations
from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean

#: From so many evaluations a client, pairs of coalitions beat orders, and their standard error is sound.
PAIRS_FROM = 6
#: Up to so many clients, all coalitions are evaluated where the budget allows it.
EXACT_UP_TO = 10


@dataclass(frozen=True)
class Method:
    """One way to the values of a game."""

    run: Callable[[Game, int, np.random.Generator], Estimate]
    #: How many evaluations it needs at least, by the number of clients.
    least: Callable[[int], int]
    #: Whether it evaluates exactly that many, whatever more is allowed.
    fixed: bool = False


def _exact(run: Callable[[Game], Estimate]) -> Callable[[Game, int, np.random.Generator], Estimate]:
    return lambda game, _, __: run(game)


def _all(players: int) -> int:
    return 1 << players


def _one_each(players: int) -> int:
    return players + 1


METHODS: dict[str, Method] = {
    "shapley": Method(_exact(semivalues.shapley), _all, True),
    "kernel_shap": Method(kernel_shap, lambda players: min(1 << players, PAIRS_FROM * players)),
    "guided_permutations": Method(guided_permutations, _one_each),
    "banzhaf": Method(_exact(semivalues.banzhaf), _all, True),
    "msr_banzhaf": Method(msr_banzhaf, lambda players: min(1 << players, 2 * players)),
    "beta_shapley": Method(_exact(semivalues.beta_shapley), _all, True),
    "leave_one_out": Method(_exact(semivalues.leave_one_out), _one_each, True),
    "individual": Method(_exact(semivalues.individual), _one_each, True),
}
#: What needs no evaluation: see ``gradient_scores``.
GRADIENT_METHODS = ("dig_fl", "cgsv")


def require_method(name: str) -> Method:
    """``Invalid`` for a name that is none, with those that are."""
    if name not in METHODS:
        raise Invalid(
            f"there is no contribution method '{name}'{did_you_mean(name, METHODS) or ';'}"
            f" there are {comma_list(METHODS)}"
        )
    return METHODS[name]


def estimate(game: Game, name: str, max_evaluations: int, rng: np.random.Generator) -> Estimate:
    """The values of a game by the method of this name, with no more evaluations than that.

    Raises:
        Invalid: no such method.
        BudgetExceeded: it needs more evaluations, before any is made.
    """
    method = require_method(name)
    least = method.least(game.players)
    if max_evaluations < least:
        raise BudgetExceeded(
            f"'{name}' needs {least} evaluations with {game.players} clients, and {max_evaluations}"
            " are allowed"
        )
    return method.run(game, max_evaluations, rng)


@dataclass(frozen=True)
class Choice:
    """What a budget allows."""

    #: None: no coalition is evaluated, and only the gradient scores are there.
    method: str | None
    #: How many evaluations are used at most.
    evaluations: int
    reason: str


def choose_method(players: int, max_evaluations: int) -> Choice:
    """The method with the least error for so many clients and evaluations.

    Raises:
        Invalid: no client, or a budget of nothing.
    """
    if players < 1 or max_evaluations < 1:
        raise Invalid("contribution needs a client and a budget of at least 1 evaluation")
    within = f"{players} clients and {max_evaluations} evaluations"
    if players <= EXACT_UP_TO and 1 << players <= max_evaluations:
        return Choice(
            "shapley", 1 << players, f"{within}: all coalitions fit, the values are exact"
        )
    if max_evaluations < players + 2:
        reason = (
            f"{within}: Shapley values need {players + 2} evaluations at least, so there are only the"
            " scores of the updates' directions (DIG-FL where there is a gradient, CGSV)"
        )
        return Choice(None, 0, reason)
    if max_evaluations >= PAIRS_FROM * players:
        return Choice("kernel_shap", max_evaluations, f"{within}: pairs of coalitions, sampled")
    few = f"{within}: too few for pairs of coalitions, so orders of the clients are sampled"
    return Choice("guided_permutations", max_evaluations, few)
