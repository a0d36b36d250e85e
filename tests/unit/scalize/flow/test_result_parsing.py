"""What train and evaluate functions return, understood."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import EvalResult
from fedops.scalize.flow import result_parsing
from fedops.scalize.flow.result_parsing import as_eval_result, as_train_result


def loss_then_accuracy():
    test_loss, correct, n = 3.0, 9, 10
    return test_loss / n, correct / n


def accuracy_then_loss():
    if 1 > 2:
        return None
    acc, val_loss = 0.9, 0.3
    return acc, val_loss


def custom_names():
    f1, mae = 0.5, 2.0
    return f1, mae


def unnamed_tuple():
    return 0.3 + 0.0, 0.9 + 0.0


def accuracy_of(x: Any = 0.75):
    return x + 0


def flower_style():
    loss = 0.3
    return loss, 10, {"accuracy": 0.9}


@pytest.mark.parametrize(
    ("function", "metrics"),
    [
        (loss_then_accuracy, {"loss": 0.3, "accuracy": 0.9}),
        (accuracy_then_loss, {"loss": 0.3, "accuracy": 0.9}),
        (custom_names, {"f1": 0.5, "mae": 2.0}),
        (unnamed_tuple, {"loss": 0.3, "accuracy": 0.9}),
        (accuracy_of, {"accuracy": 0.75}),
    ],
)
def test_bare_numbers_are_named(function: Any, metrics: dict[str, float]) -> None:
    assert as_eval_result(function(), 10, function, "it") == EvalResult(10, metrics)


def test_numbers_beside_a_dict() -> None:
    assert as_eval_result(flower_style(), 10, flower_style, "it").metrics["accuracy"] == 0.9


@pytest.mark.parametrize(
    ("value", "metrics"),
    [
        ({"loss": np.float32(0.5), "note": "text"}, {"loss": 0.5}),
        ({"loss": [3.0, 2.0]}, {"loss": 2.0, "loss.0": 3.0, "loss.1": 2.0}),
        ({"loss": [0.5]}, {"loss": 0.5}),
        ({"loss": [1.0] * 200}, {"loss": 1.0}),
        ({"per_class": {"a": 0.5, "b": np.float64(1)}}, {"per_class.a": 0.5, "per_class.b": 1.0}),
        ({"report": {"macro": {"f1": 0.5}}, 3: True}, {"report.macro.f1": 0.5, "3": 1.0}),
        ({"loss": np.array([0.25])}, {"loss": 0.25}),
    ],
)
def test_mappings_speak_for_themselves(value: Any, metrics: dict[str, float]) -> None:
    assert as_train_result(value, 5, unnamed_tuple, "it").metrics == metrics


def test_a_number_of_examples_in_the_dict_counts() -> None:
    result = as_train_result({"loss": 1.0, "num_examples": 7}, 5, unnamed_tuple, "it")
    assert (result.examples, result.metrics) == (7, {"loss": 1.0})


def test_a_train_function_may_return_nothing_but_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fedops.scalize"):
        assert as_train_result(None, 5, unnamed_tuple, "the train step").examples == 5
    assert "the train step returned nothing" in caplog.text


@pytest.mark.parametrize("value", [None, "great", {"note": "fine"}])
def test_an_evaluate_function_must_return_a_number(value: Any) -> None:
    with pytest.raises(Invalid, match="must return metrics"):
        as_eval_result(value, 5, unnamed_tuple, "it")


def test_what_cannot_be_kept_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    result_parsing._said.clear()
    value = {"loss": 1.0, "confusion": np.eye(4), "note": "fine", "none": None, "odd": [1.0, "x"]}
    for _ in range(3):
        assert as_train_result(value, 5, unnamed_tuple, "it").metrics == {"loss": 1.0}
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "the metric 'confusion' is a ndarray of shape [4, 4]",
        "the metric 'note' is text ('fine')",
        "the metric 'none' is None",
        "the metric 'odd' is a list",
    ]


def test_what_is_not_finite_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    result_parsing._said.clear()
    result = as_eval_result({"loss": float("nan"), "accuracy": 0.5}, 5, unnamed_tuple, "it")
    assert result.metrics == {"accuracy": 0.5}
    assert "'loss' is nan" in caplog.text
