"""The models of coalitions: means over members, the model before for nobody, and no drift."""

import ml_dtypes
import numpy as np
import pytest

from fedops.algorithms.contribution.coalition_models import (
    FRESH_AFTER,
    CoalitionModels,
    utility_of_models,
)
from fedops.algorithms.contribution.coalitions import gray_order, members
from fedops.algorithms.contribution.game import Game
from fedops.algorithms.contribution.gradient_scores import dig_fl
from fedops.algorithms.contribution.semivalues import banzhaf, leave_one_out, shapley
from fedops.core.errors import Invalid
from fedops.storage.tensors import Tensors


def scalar(value: float) -> Tensors:
    return {"w": np.array([value])}


BEFORE, UPDATES, WEIGHTS = scalar(0.0), [scalar(1.0), scalar(0.5), scalar(0.0)], [1, 1, 2]


def test_end_to_end_with_worked_numbers() -> None:
    """Client 3 returns the model as it was and has half of the data: less than nothing by Shapley."""
    models = CoalitionModels(BEFORE, UPDATES, WEIGHTS)
    game = Game(3, utility_of_models(models, lambda m: -float((m["w"][0] - 1) ** 2)))
    assert game.payoffs([0, 1, 2, 4, 3, 5, 6, 7])[:, 0] == pytest.approx(
        [-1, 0, -1 / 4, -1, -1 / 16, -4 / 9, -25 / 36, -25 / 64], abs=1e-12
    )
    values = shapley(game).values
    assert values == pytest.approx([965 / 1728, 533 / 1728, -445 / 1728], abs=1e-12)
    assert values.sum() == pytest.approx(39 / 64, abs=1e-12)
    assert banzhaf(game).values == pytest.approx([131 / 256, 67 / 256, -701 / 2304], abs=1e-12)
    assert leave_one_out(game).values == pytest.approx([175 / 576, 31 / 576, -21 / 64], abs=1e-12)
    gradient = {"w": np.array([-2.0])}
    assert dig_fl(UPDATES, BEFORE, WEIGHTS, [gradient]).values.tolist() == [0.5, 0.25, 0.0]


def test_the_empty_coalition_is_the_model_before_and_not_nothing() -> None:
    models = CoalitionModels(scalar(7.0), UPDATES, WEIGHTS)
    models.model(0b111)
    assert models.model(0)["w"].tolist() == [7.0]


def test_the_coalition_of_the_first_client_alone_is_not_taken_for_the_empty_one() -> None:
    assert CoalitionModels(scalar(7.0), UPDATES, WEIGHTS).model(0b001)["w"].tolist() == [1.0]


def direct(updates: list[Tensors], weights: list[int], coalition: int) -> float:
    chosen = list(members(coalition))
    total = sum(weights[i] for i in chosen)
    return sum(weights[i] * updates[i]["w"].astype(np.float64) for i in chosen) / total


@pytest.mark.parametrize("order", ["gray", "random"])
def test_nothing_drifts_over_all_coalitions(order: str) -> None:
    rng = np.random.default_rng(0)
    updates = [{"w": rng.normal(size=5) * 10.0 ** rng.integers(-6, 6)} for _ in range(10)]
    weights = [int(n) for n in rng.integers(1, 1000, 10)]
    models = CoalitionModels({"w": np.zeros(5)}, updates, weights)
    coalitions = gray_order(range(1, 1 << 10))
    if order == "random":
        coalitions = [int(c) for c in rng.permutation(coalitions)]
    scale = max(np.abs(u["w"]).max() for u in updates)
    for coalition in coalitions:
        wanted = direct(updates, weights, coalition)
        got = models.model(coalition)["w"]
        assert np.abs(got - wanted).max() <= 1e-12 * scale * FRESH_AFTER


def test_dtypes_stay_and_half_precision_is_summed_in_double_precision() -> None:
    before = {"h": np.zeros(1, np.float16), "b": np.zeros(1, ml_dtypes.bfloat16)}
    updates = [
        {"h": np.array([value], np.float16), "b": np.array([2.0], ml_dtypes.bfloat16)}
        for value in (60_000.0, 60_000.0, 59_968.0)
    ]
    model = CoalitionModels(before, updates, [1, 1, 1]).model(0b011)
    assert (model["h"].dtype, model["b"].dtype) == (np.float16, ml_dtypes.bfloat16)
    assert model["h"].tolist() == [60_000.0]


def test_integers_and_what_stays_local_are_those_of_the_model_before() -> None:
    before = {
        "w": np.zeros(1),
        "seen": np.array(10, np.int64),
        "mean": np.zeros(1),
        "own": np.ones(1),
    }
    updates = [
        {"w": np.full(1, v), "seen": np.array(int(v), np.int64), "mean": np.full(1, 2 * v)}
        for v in (20.0, 40.0)
    ]
    models = CoalitionModels(before, updates, [1, 1])
    for coalition, mean in ((0, 0.0), (1, 20.0), (3, 30.0)):
        model = models.model(coalition)
        assert model["seen"].dtype == np.int64
        assert model["seen"] == 10
        assert model["own"].tolist() == [1.0]
        assert model["mean"].tolist() == [2 * mean]
    assert before["w"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("updates", "weights", "message"),
    [
        ([{"w": np.zeros(2)}], [1], r"'w' is float64\[1\] in one update and float64\[2\]"),
        ([scalar(1.0)], [0], "a weight must be a positive number"),
        ([scalar(1.0), scalar(2.0)], [1], "one weight for each update"),
        ([{"x": np.zeros(1)}], [1], "'x' is in an update and not in the model"),
        ([scalar(1.0), {}], [1, 1], "'w' is missing in an update"),
    ],
)
def test_mistakes(updates: list[Tensors], weights: list[int], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        CoalitionModels(BEFORE, updates, weights)
