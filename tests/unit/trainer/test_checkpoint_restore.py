"""Which checkpoint a starting device takes for its local model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.storage.tensors import Tensors
from fedops.trainer.checkpoint_restore import fits, restore
from fedops.trainer.device_context import NullRoundState

CONTRACT = ParameterContract(
    parameters=(
        ParameterSpec(name="w", shape=(2, 2), dtype="float32", rule=ExchangeRule.MEAN),
        ParameterSpec(name="n", shape=(), dtype="int64", rule=ExchangeRule.LOCAL),
    )
)


def model(value: float = 1.0) -> Tensors:
    return {"w": np.full((2, 2), value, np.float32), "n": np.array(3, np.int64)}


class Adapter:
    """Keeps what it was given."""

    contract = CONTRACT

    def __init__(self) -> None:
        self.given: list[Tensors] = []

    def set_tensors(self, tensors: Tensors) -> None:
        self.given.append(tensors)


class Checkpoints(NullRoundState):
    def __init__(self, *found: Tensors) -> None:
        self._found = found

    def newest_checkpoint(self, fits: Callable[[Tensors], bool]) -> Tensors | None:
        return next((tensors for tensors in self._found if fits(tensors)), None)


@pytest.mark.parametrize(
    "other",
    [
        {"w": np.zeros((2, 2), np.float32)},
        {**model(), "more": np.zeros(1)},
        {**model(), "w": np.zeros((2, 3), np.float32)},
        {**model(), "w": np.zeros((2, 2), np.float64)},
    ],
)
def test_another_models_checkpoint_does_not_fit(other: Tensors) -> None:
    assert not fits(other, CONTRACT)
    adapter = Adapter()
    restore(adapter, Checkpoints(other, model(5.0)), 42)  # type: ignore[arg-type]
    assert [float(t["w"][0, 0]) for t in adapter.given] == [5.0]


def test_without_a_checkpoint_the_model_stays_new() -> None:
    adapter = Adapter()
    restore(adapter, Checkpoints(), 42)  # type: ignore[arg-type]
    assert adapter.given == []
