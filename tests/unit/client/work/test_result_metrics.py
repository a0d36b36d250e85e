"""What is reported again of a result that was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedops.client.work.result_metrics import Measured, metrics_of
from fedops.core.contracts.training import (
    ARRAYS,
    EVAL_METRICS,
    HEADER,
    METRICS,
    ClientMetrics,
    UpdateHeader,
    coalition_kind,
)
from fedops.storage.payloads import Payload, write_payload


def written(path: Path, **metrics: ClientMetrics) -> Path:
    header = UpdateHeader("ada", 7, 1, 3, "f" * 16)
    payload = Payload(
        arrays={ARRAYS: {"w": np.ones(2)}},
        metrics={name: value.values() for name, value in metrics.items()},
        configs={HEADER: header.values()},
    )
    write_payload(payload, path)
    return path


def test_of_a_training_both_and_the_received_model_is_of_the_round_before(tmp_path: Path) -> None:
    trained = ClientMetrics(5, {"train_loss": 0.5, "norm_bit": 1.0})
    given = {METRICS: trained, EVAL_METRICS: ClientMetrics(2, {"loss": 0.25})}
    path = written(tmp_path / "r", **given)
    assert metrics_of(path, "train") == [
        Measured("train_loss", 0.5, 7, 3),
        Measured("eval_loss", 0.25, 7, 2),
    ]


def test_of_an_evaluation(tmp_path: Path) -> None:
    path = written(tmp_path / "r", **{EVAL_METRICS: ClientMetrics(2, {"loss": 0.25})})
    assert metrics_of(path, "evaluate") == [Measured("eval_loss", 0.25, 7, 3)]


def test_of_the_model_of_a_coalition_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "r", **{EVAL_METRICS: ClientMetrics(2, {"loss": 0.25})})
    assert metrics_of(path, coalition_kind(2)) == []


def test_of_what_is_none_of_ours_nothing(tmp_path: Path) -> None:
    write_payload(
        Payload(arrays={"mine": {"w": np.ones(2)}}, metrics={}, configs={}), tmp_path / "r"
    )
    assert metrics_of(tmp_path / "r", "train") == []
    assert metrics_of(tmp_path / "missing", "train") == []
