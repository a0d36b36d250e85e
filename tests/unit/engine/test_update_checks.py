"""What is wrong with an update is one sentence, and both sides are shown."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.core.contracts.training import (
    ARRAYS,
    EVAL_METRICS,
    HEADER,
    METRICS,
    ClientMetrics,
    UpdateHeader,
)
from fedops.core.errors import Invalid
from fedops.engine.update_checks import (
    CheckedUpdate,
    ClientRefused,
    ExpectedUpdate,
    accept_update,
    count_not_finite,
)
from fedops.storage.payloads import Payload, pack_payload
from fedops.storage.tensors import TensorFile, Tensors, save

CONTRACT = ParameterContract(
    parameters=(
        ParameterSpec(name="w", shape=(2, 3), dtype="float32", rule=ExchangeRule.MEAN),
        ParameterSpec(name="h", shape=(2,), dtype="bfloat16", rule=ExchangeRule.MEAN),
        ParameterSpec(name="n", shape=(), dtype="int64", rule=ExchangeRule.MAX),
        ParameterSpec(name="own", shape=(4,), dtype="float32", rule=ExchangeRule.LOCAL),
    )
)
GOOD: Tensors = {
    "w": np.ones((2, 3), np.float32),
    "h": np.array([1.5, -2], ml_dtypes.bfloat16),
    "n": np.array(7),
}
EXPECTED = ExpectedUpdate("pi-3", 5, 3, CONTRACT)
HEAD = UpdateHeader("pi-3", 5, 2, 3, CONTRACT.fingerprint, "MNIST", 1.5, 0.25)


def update(
    folder: Path,
    head: UpdateHeader = HEAD,
    tensors: Tensors | None = GOOD,
    trained: ClientMetrics | None = ClientMetrics(10, {"train_loss": 0.5}),  # noqa: B008
    evaluated: ClientMetrics | None = None,
) -> Path:
    """The file that a client delivers."""
    measured = {METRICS: trained, EVAL_METRICS: evaluated}
    payload = Payload(
        arrays={} if tensors is None else {ARRAYS: tensors},
        metrics={name: dict(m.values()) for name, m in measured.items() if m is not None},
        configs={HEADER: head.values()},
    )
    path = folder / "update.safetensors"
    path.write_bytes(pack_payload(payload))
    return path


def test_a_good_update_passes(tmp_path: Path) -> None:
    path = update(tmp_path, evaluated=ClientMetrics(4, {"loss": 2.0, "accuracy": 0.5}))
    checked = accept_update(path, EXPECTED, 99)
    assert checked.examples == 10
    assert checked.seconds == 1.75
    assert checked.bytes_up == 99
    assert checked.metrics == {"train_loss": 0.5, "eval_loss": 2.0, "eval_accuracy": 0.5}


def test_an_evaluation_needs_no_tensors(tmp_path: Path) -> None:
    path = update(tmp_path, tensors=None, trained=None, evaluated=ClientMetrics(4, {"loss": 2.0}))
    checked = accept_update(path, replace(EXPECTED, trains=False), 0)
    assert checked.evaluated == ClientMetrics(4, {"loss": 2.0})


def changed(**tensors: Any) -> Tensors:
    return {name: array for name, array in {**GOOD, **tensors}.items() if array is not None}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            changed(w=np.ones((3, 2), np.float32)),
            r"'w' is float32\[3, 2\] in it and float32\[2, 3\] in the model",
        ),
        (changed(w=np.ones((3,), np.float32)), r"'w' is float32\[3\] in it"),
        (
            changed(w=np.ones((2, 3))),
            r"'w' is float64\[2, 3\] in it and float32\[2, 3\] in the model",
        ),
        (changed(n=None), r"it lacks 'n', which is int64\[\] in the model"),
        (changed(x=np.ones(1)), "it holds 'x', which is no exchanged tensor"),
        (changed(own=np.ones(4, np.float32)), "it holds 'own', which is no exchanged tensor"),
        (
            changed(w=np.array([[1, np.nan, 1], [1, -np.inf, 1]], np.float32)),
            "2 of 6 values of 'w' are NaN",
        ),
        (
            changed(h=np.array([np.inf, 1], ml_dtypes.bfloat16)),
            "1 of 2 values of 'h' are NaN or inf",
        ),
    ],
)
def test_wrong_tensors_are_refused_with_both_sides_shown(
    tensors: Tensors, message: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=f"^the reply of device 'pi-3' is refused: {message}"):
        accept_update(update(tmp_path, tensors=tensors), EXPECTED, 0)


@pytest.mark.parametrize("examples", [0, -3, 2.5, 2**60])
def test_the_number_of_examples_must_be_positive(examples: Any, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="'pi-3' is refused: its number of examples"):
        accept_update(update(tmp_path, trained=ClientMetrics(examples, {})), EXPECTED, 0)


def test_metrics_must_be_finite(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="its metric 'train_loss' is nan"):
        accept_update(
            update(tmp_path, trained=ClientMetrics(1, {"train_loss": float("nan")})), EXPECTED, 0
        )
    with pytest.raises(Invalid, match="its metric 'loss' is inf"):
        accept_update(
            update(tmp_path, evaluated=ClientMetrics(1, {"loss": float("inf")})), EXPECTED, 0
        )


def test_examples_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="does not say how many examples"):
        accept_update(update(tmp_path, trained=None), EXPECTED, 0)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (replace(HEAD, device="pi-4"), "it is for device 'pi-4', and device 'pi-3' was asked"),
        (replace(HEAD, run_id=6), "it is for run 6, and run 5 was asked"),
        (replace(HEAD, round=2), "it is for round 2, and round 3 was asked"),
        (replace(HEAD, fingerprint="0" * 16), "its model has the fingerprint '0000000000000000'"),
    ],
)
def test_a_reply_to_something_else_is_refused(
    head: UpdateHeader, message: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=message):
        accept_update(update(tmp_path, head), EXPECTED, 0)


def test_a_device_may_refuse(tmp_path: Path) -> None:
    head = replace(HEAD, refused="the model differs", fingerprint="")
    with pytest.raises(ClientRefused, match="the model differs"):
        accept_update(update(tmp_path, head, None, None), EXPECTED, 0)


def test_what_is_no_file_of_tensors_is_refused(tmp_path: Path) -> None:
    path = update(tmp_path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(Invalid, match="'pi-3' is refused: it does not hold complete safetensors"):
        accept_update(path, EXPECTED, 0)


def test_an_update_says_who_made_it(tmp_path: Path) -> None:
    path = tmp_path / "update.safetensors"
    path.write_bytes(pack_payload(Payload(arrays={ARRAYS: GOOD})))
    with pytest.raises(Invalid, match="no 'device' of type str"):
        accept_update(path, EXPECTED, 0)


def test_metrics_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "update.safetensors"
    metrics = {METRICS: {"num-examples": 3, "losses": [1.0, 2.0]}}
    path.write_bytes(pack_payload(Payload({ARRAYS: GOOD}, metrics, {HEADER: HEAD.values()})))
    with pytest.raises(Invalid, match="its metric 'losses'"):
        accept_update(path, EXPECTED, 0)


@pytest.mark.parametrize("name", ["weights", HEADER])
def test_arrays_stand_in_the_record_of_that_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "update.safetensors"
    metrics = {METRICS: ClientMetrics(3, {}).values()}
    arrays = {ARRAYS: GOOD, "more": GOOD} if name == HEADER else {name: GOOD}
    path.write_bytes(pack_payload(Payload(arrays, metrics, {HEADER: HEAD.values()})))
    with pytest.raises(Invalid, match="it must hold the arrays of 'arrays' and no others"):
        accept_update(path, EXPECTED, 0)


def test_values_are_counted_over_pieces() -> None:
    big = np.zeros(1_200_000, np.float32)
    big[[0, 600_000, -1]] = np.nan
    assert count_not_finite(big) == 3
    assert count_not_finite(np.array(3)) == 0
    assert isinstance(CheckedUpdate(HEAD, None, None, 0).examples, int)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ({"x" * 201: 1.0}, "has a name of 201 characters"),
        ({"\x1b[31mred": 1.0}, "cannot be printed"),
        ({"loss": 1e31}, r"is 1e\+31, beyond 1e\+30"),
        ({f"m{index}": 1.0 for index in range(1_001)}, "it has 1001 metrics, more than 1000"),
    ],
)
def test_metrics_have_limits(metric: dict[str, float], words: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=words):
        accept_update(update(tmp_path, trained=ClientMetrics(1, metric)), EXPECTED, 0)


def test_how_far_it_went(tmp_path: Path) -> None:
    before = tmp_path / "model.safetensors"
    moved = {"w": GOOD["w"] - np.float32(2), "h": np.zeros(2, ml_dtypes.bfloat16), "n": np.array(9)}
    save({**moved, "own": np.full(4, 7, np.float32)}, before)
    expected = replace(EXPECTED, before=TensorFile(before))
    checked = accept_update(update(tmp_path), expected, 0)
    assert checked.norm == pytest.approx(math.sqrt(6 * 4 + 1.5**2 + 2**2))
    far = changed(w=np.full((2, 3), 1e38, np.float32))
    assert accept_update(update(tmp_path, tensors=far), expected, 0).norm == math.inf
    assert accept_update(update(tmp_path), EXPECTED, 0).norm is None
