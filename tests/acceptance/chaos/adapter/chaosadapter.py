"""An adapter whose training is plain arithmetic: the same on every machine, and sensitive to everything.

What a round makes depends on the model received, on the round's seed and on a tensor that never leaves the
device: a round trained twice over, or from another round's state, ends in another digest.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

from fedops.scalize.adapter.parameter_exchange import TensorInfo, build_contract
from fedops.scalize.adapter.protocol import AdapterOptions, EvalResult, TrainContext, TrainResult
from fedops.storage.tensors import Tensors

#: How long an epoch takes. Seconds.
EPOCH_SECONDS = 0.4
#: How this device's training goes wrong: "import", "hang" or "leak".
FAULT = os.environ.get("CHAOS_FAULT", "")

if FAULT == "import":
    raise RuntimeError("libscience.so.3 cannot be loaded")


class ChaosAdapter:
    """A ``ModelAdapter``."""

    def __init__(self, model: Any, options: AdapterOptions) -> None:
        self._tensors: Tensors = {
            "weight": np.linspace(-1.0, 1.0, model.size),
            "memory": np.zeros(model.size),
            "steps": np.zeros((1,), dtype=np.int64),
        }
        infos = [TensorInfo(n, a.shape, a.dtype.name) for n, a in self._tensors.items()]
        self.contract = build_contract(infos, options.exchange)

    def get_tensors(self) -> Tensors:
        return {name: array.copy() for name, array in self._tensors.items()}

    def set_tensors(self, tensors: Tensors) -> None:
        self._tensors |= {name: np.array(array) for name, array in tensors.items()}

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        mine = self._tensors
        if context.round == 1:  # a run does not depend on the runs before it
            mine["memory"] = np.zeros_like(mine["memory"])
        noise = np.random.default_rng(context.seed).normal(size=mine["weight"].shape)
        mine["memory"] = 0.5 * mine["memory"] + noise + float(np.mean(data))
        step = mine["memory"] - mine["weight"]
        mine["weight"] = mine["weight"] + context.learning_rate * step
        mine["steps"] = mine["steps"] + 1
        _go_wrong()
        until = time.monotonic() + EPOCH_SECONDS * context.epochs
        while time.monotonic() < until:
            context.check()
            context.cancelled.wait(0.05)
        return TrainResult(len(data), {"loss": float(np.mean(step**2))})

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        loss = float(np.mean((self._tensors["weight"] - np.mean(data)) ** 2))
        return EvalResult(len(data), {"loss": loss})


def _go_wrong() -> None:
    eaten = []
    if FAULT == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while FAULT in ("hang", "leak"):
        if FAULT == "leak":
            eaten.append(np.ones(1 << 22))  # 32 MB
        time.sleep(0.1)
