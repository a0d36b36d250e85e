"""Rounds that are scored although something is missing, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from fedops.config.schema import Exchange
from fedops.core import contracts as c
from fedops.core.contracts import ParameterContract
from fedops.engine.scoring.scoring_plan import DIRECTIONS
from fedops.flower.scoring.job_scoring import JobScoring
from fedops.scalize.adapter import parameter_exchange as exchange
from fedops.scalize.adapter.protocol import AdapterOptions, EvalResult, TrainContext, TrainResult
from fedops.scalize.frameworks.pytorch import PyTorchAdapter
from fedops.storage.tensors import Tensors, save

CONTEXT = TrainContext(0, 1, 1, 16, 0.1)
#: 200 examples of two classes, by the sign of the first number.
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(200, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
Metrics = Callable[[float], Mapping[str, float]]


class Number:
    """A model that is one number, whose evaluation is a function of it."""

    contract: ParameterContract = exchange.build_contract(
        [exchange.TensorInfo("w", (1,), "float32")], Exchange()
    )

    def __init__(self, metrics: Metrics) -> None:
        self.w = np.zeros(1, np.float32)
        self.metrics = metrics

    def get_tensors(self) -> Tensors:
        return {"w": self.w.copy()}

    def set_tensors(self, tensors: Tensors) -> None:
        self.w = np.array(tensors["w"], np.float32)

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        self.w = self.w + np.float32(0.5)
        return TrainResult(len(data), {})

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        return EvalResult(len(data), dict(self.metrics(float(self.w[0]))))


def job(
    folder: Path,
    before: Tensors,
    updates: Sequence[Tensors],
    *,
    history: Mapping[str, Any] | None = None,
    **plan: Any,
) -> dict[str, Any]:
    """What the process is asked: all coalitions on all examples, unless ``plan`` says otherwise."""
    given = {"method": "shapley", "evaluations": 1 << len(updates), "examples": len(X), **plan}
    save(before, folder / "before.safetensors")
    for number, one in enumerate(updates):
        save(one, folder / f"{number}.safetensors")
    return {
        "round": 2,
        "plan": c.ScoringPlan(**given).model_dump(mode="json"),
        "seed": 3,
        "before": str(folder / "before.safetensors"),
        "previous": None,
        "updates": [
            {"device": f"d{n}", "path": str(folder / f"{n}.safetensors"), "examples": 10}
            for n in range(len(updates))
        ],
        "basis": {},
        "history": history or {},
        "evaluations": None,
    }


def number(value: float) -> Tensors:
    return {"w": np.array([value], np.float32)}


def scoring_of(metrics: Metrics) -> JobScoring:
    scoring = JobScoring(Number(metrics), X, CONTEXT)
    scoring.warm_up()
    return scoring


def values(found: c.RoundScores) -> list[float]:
    return [-math.inf if one.value is None else one.value for one in found.scores]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 10))


def near(before: Tensors, count: int) -> list[Tensors]:
    rng = np.random.default_rng(1)
    return [
        {name: (a + 0.05 * rng.normal(size=a.shape)).astype(a.dtype) for name, a in before.items()}
        for _ in range(count)
    ]


def ruined_above(w: float) -> Mapping[str, float]:
    """The loss of a model beyond 5 is no number, and an app's own loop drops what is none."""
    accurate = {"accuracy": 0.5}
    return accurate if w > 5 else {"loss": (w - 1) ** 2 + 2, **accurate}


def test_who_ruins_the_loss_is_worth_least(tmp_path: Path) -> None:
    found = scoring_of(ruined_above).score(
        job(tmp_path, number(0), [number(100), *[number(1)] * 3])
    )
    assert values(found)[0] == min(values(found)) < 0 < values(found)[1]
    assert "8 models have no loss that is a number, and the worst utility therefore" in found.note


def test_a_round_without_a_loss_adds_no_accuracy(tmp_path: Path) -> None:
    scoring = scoring_of(ruined_above)
    first = scoring.score(job(tmp_path, number(0), [number(1), number(0.5)]))
    assert first.history["metric"] == "loss"
    again = job(tmp_path, number(50), [number(51), number(1)], history=first.history)
    second = scoring.score(again)
    assert second.history["metric"] == "loss"
    assert values(second)[1] > 1.0 > values(second)[0]  # what brings the loss back
    assert "begins anew" not in second.note
    assert "3 models have no loss that is a number" in second.note  # the one that it began with too


def test_the_history_begins_anew_with_another_metric(tmp_path: Path) -> None:
    first = scoring_of(ruined_above).score(job(tmp_path, number(0), [number(1), number(0.5)]))
    another = scoring_of(lambda w: {"accuracy": w / 100})
    asked = job(tmp_path, number(0), [number(1), number(0.5)], history=first.history)
    found = another.score(asked)
    assert "the history begins anew: the accuracy is measured now, it was the loss" in found.note
    assert found.history["metric"] == "accuracy"
    assert [one.rounds for one in found.standings] == [1, 1]


def boom(w: float) -> Mapping[str, float]:
    raise ValueError("boom\nand a second line")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (lambda w: {"f1": 0.5}, "the app's evaluation gives neither 'loss' nor 'accuracy'"),
        (
            boom,
            "evaluating the model that the round began with failed: ValueError: boom and a second line",
        ),
    ],
)
def test_without_a_utility_there_are_directions(
    tmp_path: Path, metrics: Metrics, said: str
) -> None:
    found = scoring_of(metrics).score(job(tmp_path, number(0), [number(1), number(2)]))
    assert (found.method, found.evaluations) == (None, 0)
    assert said in found.note
    assert DIRECTIONS in found.note
    assert "\n" not in found.note
    assert [one.cgsv for one in found.scores] == [1.0, 1.0]


def test_a_coalition_that_cannot_be_evaluated_is_the_worst(tmp_path: Path) -> None:
    def metrics(w: float) -> Mapping[str, float]:
        return boom(w) if w > 5 else {"loss": (w - 1) ** 2}

    found = scoring_of(metrics).score(job(tmp_path, number(0), [number(100), number(1)]))
    assert found.method == "shapley"
    assert values(found)[0] < 0 < values(found)[1]


def test_a_method_without_the_empty_coalition_knows_the_worst(tmp_path: Path) -> None:
    asked = job(tmp_path, number(0), [number(100), *[number(1)] * 3], method="leave_one_out")
    found = scoring_of(ruined_above).score(asked)
    assert values(found)[0] == min(values(found)) < 0


def test_a_gradient_that_is_not_finite_is_dropped(tmp_path: Path) -> None:
    adapter = PyTorchAdapter(net(), AdapterOptions())
    before = {name: a * np.float32(1e20) for name, a in adapter.get_tensors().items()}
    scoring = JobScoring(adapter, TensorDataset(torch.tensor(X), torch.tensor(Y)), CONTEXT)
    scoring.warm_up()
    found = scoring.score(job(tmp_path, before, near(before, 4)))
    said = "the gradient has numbers that are not finite, so there is no direction of the validation data"
    assert said in found.note
    assert [one.dig_fl for one in found.scores] == [None] * 4
    assert all(one.cgsv is not None for one in found.scores)


def test_what_stands_for_a_gradient_is_said_of_each_framework(tmp_path: Path) -> None:
    found = scoring_of(ruined_above).score(job(tmp_path, number(0), [number(1)]))
    assert "the app's framework gives no gradient: where a training" in found.note
    assert "own" not in found.note
    loop = Loop()
    scoring = JobScoring(PyTorchAdapter(net(), AdapterOptions(evaluate=loop)), _tensors(), CONTEXT)
    before = PyTorchAdapter(net(), AdapterOptions()).get_tensors()
    found = scoring.score(job(tmp_path, before, near(before, 2)))
    assert "the loss is computed by the app's own evaluate function or by the model" in found.note


class Loop:
    """An evaluate function of an app's own."""

    def takes(self, key: str) -> bool:
        return False

    def __call__(self, offers: Mapping[str, Any], batch: Any = None) -> EvalResult:
        return EvalResult(200, {"loss": 1.0})


def _tensors(times: int = 1) -> TensorDataset:
    return TensorDataset(torch.tensor(X).repeat(times, 1), torch.tensor(Y).repeat(times))


def test_what_was_evaluated_is_counted(tmp_path: Path) -> None:
    adapter = PyTorchAdapter(net(), AdapterOptions())
    before = adapter.get_tensors()
    sampler = WeightedRandomSampler([1.0] * 1_000, 1_000)
    scoring = JobScoring(adapter, DataLoader(_tensors(5), batch_size=64, sampler=sampler), CONTEXT)
    asked = job(tmp_path, before, near(before, 2), examples=200, evaluations=32)
    found = scoring.score(asked)
    assert (found.examples, found.evaluations) == (1_000, 4)  # this loader draws them itself
    assert "the validation data cannot be cut, so all 1000 examples were evaluated on" in found.note
    found = scoring.score(job(tmp_path, before, near(before, 2), examples=200))
    said = "the validation data cannot be cut, and 0 evaluations on all 1000 examples would fit, so there"
    assert said in found.note
    assert (found.method, found.evaluations, found.examples) == (None, 0, 1_000)
    scoring = JobScoring(adapter, _tensors(5), CONTEXT)
    assert scoring.score(job(tmp_path, before, near(before, 2), examples=200)).examples == 200


def test_a_model_that_cannot_be_evaluated_is_not_the_fault_of_the_data(tmp_path: Path) -> None:
    def metrics(w: float) -> Mapping[str, float]:
        return boom(w) if w > 5 else {"loss": (w - 1) ** 2}

    scoring = scoring_of(metrics)
    scoring._adapter.set_tensors(number(100))  # as the last coalition of the round before
    found = scoring.score(job(tmp_path, number(0), [number(1)], examples=100))
    assert (found.examples, found.note.count("cannot be cut")) == (100, 0)
    found = scoring_of(boom).score(job(tmp_path, number(0), [number(1)], examples=100))
    assert (found.examples, found.note.count("cannot be cut")) == (100, 0)


def test_a_loss_that_never_is_a_number_is_no_metric(tmp_path: Path) -> None:
    scoring = scoring_of(lambda w: {"loss": math.nan, "accuracy": w / 100})
    found = scoring.score(job(tmp_path, number(0), [number(1), number(2)]))
    assert found.history["metric"] == "accuracy"
    assert values(found)[1] > values(found)[0] > 0


def test_few_examples_cost_what_they_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedops.flower.scoring.job_scoring._seconds_of", _one_second)
    scoring = JobScoring(Number(ruined_above), X[:50], CONTEXT)
    scoring.warm_up()
    found = scoring.score(job(tmp_path, number(0), [number(1)], examples=50))
    assert (found.evaluation_seconds, found.direction_seconds) == (1 / 50, 1 / 50)
    sampler = WeightedRandomSampler([1.0] * 1_000, 1_000)
    whole = DataLoader(_tensors(5), batch_size=64, sampler=sampler)
    scoring = JobScoring(PyTorchAdapter(net(), AdapterOptions()), whole, CONTEXT)
    scoring.warm_up()
    assert scoring._took == [1 / 1_000, 1 / 1_000]


def _one_second(work: Callable[[], object]) -> float:
    work()
    return 1.0


def test_classes_have_their_labels(tmp_path: Path) -> None:
    labels = torch.tensor([1, 5, 9, 5] * 50)
    adapter = PyTorchAdapter(net(), AdapterOptions())
    scoring = JobScoring(adapter, TensorDataset(torch.tensor(X), labels), CONTEXT)
    before = adapter.get_tensors()
    found = scoring.score(job(tmp_path, before, near(before, 2)))
    assert [(one.classes, len(one.by_class)) for one in found.scores] == [(["1", "5", "9"], 3)] * 2
    assert [one.classes for one in found.standings] == [["1", "5", "9"]] * 2
    others = JobScoring(adapter, TensorDataset(torch.tensor(X), labels - 1), CONTEXT)
    again = others.score(job(tmp_path, before, near(before, 2), history=found.history))
    assert "the history begins anew: the classes changed" in again.note
    assert again.standings[0].classes == ["0", "4", "8"]
