"""Rounds under strategies that expect bad clients, with a client that is one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from in_memory_federation import (
    AttemptSuperseded,
    InMemoryFederation,
    LineAdapter,
    examples,
)
from round_parts import Make, model

from fedops.engine.link.exit_reasons import RunFailed

SEVEN = [f"pi-{i}" for i in range(1, 8)]
RULES: dict[str, dict[str, Any]] = {
    "Krum": {"num_malicious_nodes": 1},
    "MultiKrum": {"num_malicious_nodes": 1, "num_nodes_to_select": 3},
    "Bulyan": {"num_malicious_nodes": 1},
    "FedMedian": {},
    "FedTrimmedAvg": {"beta": 0.2},
    "FLTrust": {},
}


@pytest.fixture
def with_bad(federation: Make) -> Callable[..., InMemoryFederation]:
    def make(name: str, strategy: str, arguments: dict[str, Any]) -> InMemoryFederation:
        fed = federation(
            *SEVEN,
            name=name,
            num_rounds=6,
            clients_per_round=7,
            server={
                "strategy": {"_target_": strategy, **arguments},
                "limits": {"max_norm_ratio": 0.0},
            },
        )
        wrong = [(x, -20.0 * y) for x, y in examples(99, 10)]
        fed.server.add("pi-7", fed.client("pi-7", data=wrong))
        fed.validation = (examples(1, 8), "lines")
        return fed

    return make


def error_of(fed: InMemoryFederation) -> float:
    """How far the last model is from y = x_1 + x_2 + x_3 + 1."""
    last = model(fed, -1)
    return float(np.abs(last["w"] - 1).max() + abs(float(last["b"]) - 1))


@pytest.mark.parametrize("strategy", RULES)
def test_one_device_with_wrong_labels_does_not_steer_the_model(
    with_bad: Callable[..., InMemoryFederation], strategy: str
) -> None:
    mean = with_bad("mean", "FedAvg", {})
    mean.play()
    robust = with_bad("robust", strategy, RULES[strategy])
    robust.play()
    assert error_of(robust) < 0.5 * error_of(mean)
    last = model(robust, -1)
    assert {name: array.dtype for name, array in last.items()} == {
        name: array.dtype for name, array in LineAdapter(0).get_tensors().items()
    }
    assert last["steps"].dtype == np.int64


def test_fltrust_is_continued_bit_for_bit(with_bad: Callable[..., InMemoryFederation]) -> None:
    straight = with_bad("a", "FLTrust", {})
    straight.play()
    broken = with_bad("b", "FLTrust", {})
    broken.server.on_commit = lambda _: broken.server.failing["commit"].append(
        AttemptSuperseded("killed")
    )
    with pytest.raises(AttemptSuperseded):
        broken.play()
    broken.server.failing["commit"].clear()
    broken.server.on_commit = lambda _: None
    broken.play()
    assert [c.model for c in broken.server.commits] == [c.model for c in straight.server.commits]


def test_fltrust_without_validation_data_ends_the_run_before_its_first_round(
    federation: Make,
) -> None:
    fed = federation(*SEVEN, server={"strategy": {"_target_": "FLTrust"}})
    with pytest.raises(RunFailed, match="FLTrust trains an update on the server's validation data"):
        fed.play()
    assert fed.server.commits == []
