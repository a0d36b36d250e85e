"""All numbers of one round together: values within a budget, directions, and the judgement of each update.

This is what a process beside a run computes of the updates of a round. With the same seed and budget it gives
the same, since no time is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fedops.algorithms.contribution.coalition_models import (
    Array,
    CoalitionModels,
    Model,
    utility_of_models,
)
from fedops.algorithms.contribution.estimate import Estimate
from fedops.algorithms.contribution.estimators import (
    Choice,
    choose_method,
    estimate,
    require_method,
)
from fedops.algorithms.contribution.game import Game
from fedops.algorithms.contribution.gradient_scores import cgsv, dig_fl
from fedops.algorithms.contribution.semivalues import known_leave_one_out
from fedops.algorithms.integrity.judging import Judgement, judge_round
from fedops.algorithms.integrity.update_evidence import RoundContext, measure_updates
from fedops.core.errors import Invalid

#: What a model achieves on the validation data: a number, or a number and behind it one for each class.
Evaluate = Callable[[dict[str, Array]], float | Sequence[float]]


@dataclass(frozen=True)
class RoundUpdates:
    """What came of a round, and what there is beside."""

    #: The model that the round began with.
    before: Model
    updates: Sequence[Model]
    #: How many examples are behind each.
    weights: Sequence[float]
    #: How the global model changed in the round before. None: it is the first, or is not known.
    previous_change: Model | None = None
    #: Of the validation loss at ``before``, then of each class; empty where there is none.
    gradients: Sequence[Model] = ()


@dataclass(frozen=True, eq=False)
class RoundScores:
    """What is said of the clients of a round, in their order."""

    choice: Choice
    #: None: the budget allows no value.
    value: Estimate | None
    #: None: there was no gradient.
    dig_fl: Estimate | None
    cgsv: Estimate
    judgements: tuple[Judgement, ...]


def score_round(
    round_: RoundUpdates,
    evaluate: Evaluate | None,
    max_evaluations: int,
    rng: np.random.Generator,
    method: str | None = None,
    known: Estimate | None = None,
) -> RoundScores:
    """``evaluate`` is None where nobody can evaluate a model; ``method`` None chooses by the budget.

    ``known``: leave-one-out values that others have measured.

    Raises:
        Invalid: no such method, a budget of nothing, or updates that do not fit together.
        BudgetExceeded: the method that was asked for needs more evaluations.
    """
    choice = _choice(len(round_.updates), max_evaluations, method, evaluate is not None)
    value, left_out = known, known
    if evaluate is not None and choice.method is not None:
        models = CoalitionModels(round_.before, round_.updates, round_.weights)
        utility = utility_of_models(models, evaluate)
        game = Game(len(round_.updates), utility, choice.evaluations, round_.weights)
        value = estimate(game, choice.method, choice.evaluations, rng)
        left_out = known_leave_one_out(game)
    table = None if left_out is None else left_out.table
    context = RoundContext(round_.previous_change, round_.gradients, table)
    evidence = measure_updates(round_.updates, round_.before, round_.weights, context)
    return RoundScores(choice, value, _dig_fl(round_), _cgsv(round_), tuple(judge_round(evidence)))


def _choice(players: int, max_evaluations: int, method: str | None, can_evaluate: bool) -> Choice:
    if players < 1 or max_evaluations < 1:
        raise Invalid("contribution needs a client and a budget of at least 1 evaluation")
    if method is not None:
        require_method(method)
    if not can_evaluate:
        reason = (
            "nobody can evaluate a model, so there are only the scores of the updates' directions"
        )
        return Choice(None, 0, reason)
    if method is None:
        return choose_method(players, max_evaluations)
    return Choice(method, max_evaluations, f"'{method}' was asked for")


def _dig_fl(round_: RoundUpdates) -> Estimate | None:
    if not round_.gradients:
        return None
    return dig_fl(round_.updates, round_.before, round_.weights, round_.gradients)


def _cgsv(round_: RoundUpdates) -> Estimate:
    return cgsv(round_.updates, round_.before, round_.weights)
