"""A model that fits a line, a project around it, and the federation of it as a loop anyone would write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from fedops.algorithms.aggregation import elementwise_max, weighted_mean
from fedops.config.loading import parse_config
from fedops.config.schema import Config
from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.core.errors import Invalid
from fedops.core.seeds import client_seed
from fedops.scalize.adapter.protocol import EvalResult, TrainContext, TrainResult
from fedops.scalize.flow.datasets import DataSplit
from fedops.storage.tensors import Tensors
from fedops.trainer.device_context import NullRoundState


class LineAdapter:
    """Fits y = w x + b by noisy steps; counts its steps; keeps a scale to itself."""

    def __init__(self, seed: int, size: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.tensors: Tensors = {
            "w": rng.normal(size=size).astype(np.float32),
            "b": np.zeros((), np.float32),
            "steps": np.zeros((), np.int64),
            "own": np.ones(2, np.float32),
        }

    @property
    def contract(self) -> ParameterContract:
        rules = {"steps": ExchangeRule.MAX, "own": ExchangeRule.LOCAL}
        return ParameterContract(
            parameters=tuple(
                ParameterSpec(
                    name=name,
                    shape=array.shape,
                    dtype=array.dtype.name,
                    rule=rules.get(name, ExchangeRule.MEAN),
                )
                for name, array in self.tensors.items()
            )
        )

    def get_tensors(self) -> Tensors:
        return {name: array.copy() for name, array in self.tensors.items()}

    def set_tensors(self, tensors: Tensors) -> None:
        for name, array in tensors.items():
            if (array.shape, array.dtype) != (self.tensors[name].shape, self.tensors[name].dtype):
                raise Invalid(f"'{name}' does not fit")
            self.tensors[name] = array.copy()

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        rng = np.random.default_rng(context.seed)
        for x, y in data:
            context.check()
            error = np.float32(float(self.tensors["w"] @ x) + float(self.tensors["b"]) - y)
            noise = rng.normal(size=x.size).astype(np.float32) * np.float32(0.01)
            step = np.float32(context.learning_rate) * self.tensors["own"][0]
            self.tensors["w"] -= step * error * x + noise
            self.tensors["b"] = np.asarray(self.tensors["b"] - step * error, np.float32)
            self.tensors["steps"] = np.asarray(self.tensors["steps"] + 1)
        self.tensors["own"] = self.tensors["own"] * np.float32(0.5)
        return TrainResult(len(data), {"loss": self._loss(data)})

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        return EvalResult(len(data), {"loss": self._loss(data)})

    def _loss(self, data: Any) -> float:
        w, b = self.tensors["w"], float(self.tensors["b"])
        return float(np.mean([(float(w @ x) + b - y) ** 2 for x, y in data]))


def examples(seed: int, count: int) -> list[tuple[Any, float]]:
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(count, 3)).astype(np.float32)
    return [(x, float(x.sum() + 1)) for x in xs]


@dataclass(frozen=True)
class LineProject:
    """A project whose steps are here."""

    config: Config
    #: None: the device has validation data only.
    data: list[tuple[Any, float]] | None = field(default_factory=lambda: examples(0, 4))
    dataset: str = "lines"
    validation: tuple[Any, str] | None = None
    size: int = 3

    def with_config(self, plain: Mapping[str, Any]) -> Self:
        return replace(self, config=parse_config(plain, "the run's config"))

    def make_adapter(self, seed: int) -> LineAdapter:
        return LineAdapter(seed, self.size)

    def load_data(self) -> DataSplit:
        if self.data is None:
            return DataSplit(None, examples(9, 3), self.dataset)
        if not self.data:
            raise Invalid("this device has no example to train on")
        return DataSplit(self.data, examples(9, 3), self.dataset, len(self.data))

    def load_validation_data(self) -> tuple[Any, str] | None:
        return self.validation


class StateMemory(NullRoundState):
    """Keeps the state of a device in memory."""

    def __init__(self) -> None:
        self.states: dict[tuple[int, int], Tensors] = {}

    def load_state(self, run_id: int, round_: int) -> Tensors | None:
        found = [r for i, r in self.states if i == run_id and r < round_]
        return self.states[run_id, max(found)] if found else None

    def save_state(self, run_id: int, round_: int, tensors: Tensors) -> None:
        self.states[run_id, round_] = {name: array.copy() for name, array in tensors.items()}


def plain_rounds(
    devices: list[str], rounds: int, *, seed: int = 42, learning_rate: float = 0.05
) -> list[Tensors]:
    """The same federation as a loop anyone would write."""
    sizes = {name: 4 + i for i, name in enumerate(devices)}
    models = [LineAdapter(seed).get_tensors()]
    own = {name: models[0]["own"] for name in devices}
    for round_ in range(1, rounds + 1):
        updates = {}
        for name in sorted(devices):
            adapter = LineAdapter(0)
            adapter.set_tensors({**models[-1], "own": own[name]})
            drawn = client_seed(seed, name, round_)
            adapter.train(
                examples(sum(name.encode()), sizes[name]),
                TrainContext(round_, drawn, 1, 32, learning_rate),
            )
            updates[name] = adapter.get_tensors()
            own[name] = updates[name]["own"]
        weights = [sizes[name] for name in updates]
        mean = weighted_mean(list(updates.values()), weights, ["w", "b"])
        steps = elementwise_max(list(updates.values()), ["steps"])
        models.append({**mean, **steps, "own": models[0]["own"]})
    return models[1:]
