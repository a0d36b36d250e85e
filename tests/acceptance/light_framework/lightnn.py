"""A framework of one network, in numpy: what is about processes has no seconds to spend on importing another.

FedOps finds its adapter through ``lightnn-1.0.dist-info``, as that of any package that brings one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedops.core.contracts import ParameterContract
from fedops.scalize.adapter.accelerators import CpuOnly, choose_accelerator
from fedops.scalize.adapter.parameter_exchange import TensorInfo, build_contract, incoming, outgoing
from fedops.scalize.adapter.protocol import AdapterOptions, EvalResult, TrainContext, TrainResult
from fedops.scalize.adapter.random_state import kept_random_state, seed_everything
from fedops.storage.tensors import Tensors


class Network:
    """Two layers of float32, each a matrix and its biases, with a rectifier between them.

    ``arrays``: ``hidden.weight`` (width, 2), ``hidden.bias``, ``out.weight`` (2, width) and ``out.bias``.
    """

    def __init__(self, width: int) -> None:
        self.arrays: Tensors = {}
        for name, rows, columns in (("hidden", width, 2), ("out", 2, width)):
            bound = columns**-0.5
            for part, shape in (("weight", (rows, columns)), ("bias", (rows,))):
                drawn = np.random.uniform(-bound, bound, shape)
                self.arrays[f"{name}.{part}"] = drawn.astype(np.float32)

    def scores(self, points: Any) -> Any:
        """Of each of (n, 2) points, for each of the two classes: (n, 2)."""
        return self._above(self._hidden(points))

    def step(self, points: Any, labels: Any, learning_rate: float) -> float:
        """One of plain SGD on the cross-entropy of a batch; the mean loss before it."""
        hidden = self._hidden(points)
        chances = softmax(self._above(hidden))
        loss = cross_entropy(chances, labels)
        chances[np.arange(len(labels)), labels] -= 1
        above = chances / len(labels)
        below = (above @ self.arrays["out.weight"]) * (hidden > 0)
        for name, error, inputs in (("out", above, hidden), ("hidden", below, points)):
            self._move(f"{name}.weight", error.T @ inputs, learning_rate)
            self._move(f"{name}.bias", error.sum(0), learning_rate)
        return loss

    def _move(self, name: str, gradient: Any, learning_rate: float) -> None:
        self.arrays[name] = self.arrays[name] - np.float32(learning_rate) * gradient

    def _hidden(self, points: Any) -> Any:
        return np.maximum(points @ self.arrays["hidden.weight"].T + self.arrays["hidden.bias"], 0)

    def _above(self, hidden: Any) -> Any:
        return hidden @ self.arrays["out.weight"].T + self.arrays["out.bias"]


def softmax(scores: Any) -> Any:
    raised = np.exp(scores - scores.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def cross_entropy(chances: Any, labels: Any) -> float:
    """The mean over a batch."""
    return float(-np.log(chances[np.arange(len(labels)), labels] + 1e-12).mean())


class LightAdapter:
    """A ``Network`` that the app's own functions train and evaluate."""

    def __init__(self, model: Network, options: AdapterOptions) -> None:
        assert options.train
        assert options.evaluate
        self.model = model
        self._train, self._evaluate = options.train, options.evaluate
        self.accelerator = choose_accelerator(options.resources, CpuOnly("lightnn"), {})
        infos = [TensorInfo(name, a.shape, a.dtype.name) for name, a in model.arrays.items()]
        self._contract = build_contract(infos, options.exchange)
        self._dtypes = {info.name: info.dtype for info in infos}

    @property
    def contract(self) -> ParameterContract:
        return self._contract

    def get_tensors(self) -> Tensors:
        return outgoing(self._contract, self.model.arrays)

    def set_tensors(self, tensors: Tensors) -> None:
        self.model.arrays.update(incoming(self._contract, tensors, self._dtypes))

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        context.check()
        seed_everything(context.seed)
        return self._train({"model": self.model, "train_data": data, "context": context})

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        with kept_random_state():
            return self._evaluate({"model": self.model, "data": data, "context": context})
