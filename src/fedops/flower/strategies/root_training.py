"""The server's own update, for a strategy that compares others with it: trained on the validation data.

The same train function, epochs, batches and learning rate as on a device, in the FL server, while the round
waits. The data is that on which the server judges the global model, which thereby is no longer unseen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedops.core.states import FailureReason
from fedops.engine.aggregation_port import TensorMap
from fedops.engine.link.exit_reasons import RunFailed
from fedops.engine.run_setup import Setup
from fedops.flower.strategies.strategy_adapter import RunStrategy
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.storage.tensors import Tensors


def with_root_update(setup: Setup) -> Setup:
    """The same setup; its strategy, if it needs one, can have an update of the server's own.

    Raises:
        RunFailed: it needs one, and the app has no validation data.
    """
    strategy = setup.strategy
    if isinstance(strategy, RunStrategy) and strategy.needs_root_update:
        if setup.adapter is None or setup.validation is None:
            raise RunFailed(
                FailureReason.APP_ERROR,
                f"[server.strategy]: {strategy.name} trains an update on the server's validation data,"
                " and the app has none: give it a validation step, or choose another strategy",
            )
        strategy.use_root_update(_RootTrainer(setup, setup.adapter, setup.validation[0]))
    return setup


class _RootTrainer:
    """Trains the round's model as a device would, always from the same state of what does not travel."""

    def __init__(self, setup: Setup, adapter: ModelAdapter, data: Any) -> None:
        self._setup, self._adapter, self._data = setup, adapter, data
        self._others: Tensors | None = None

    def __call__(self, round_: int, before: TensorMap) -> TensorMap:
        own = self._adapter.get_tensors()
        if self._others is None:
            self._others = {name: array for name, array in own.items() if name not in before}
        given = {name: np.asarray(array, own[name].dtype) for name, array in before.items()}
        self._adapter.set_tensors({**self._others, **given})
        self._adapter.train(self._data, self._setup.context(round_))
        trained = self._adapter.get_tensors()
        return {name: np.asarray(trained[name], array.dtype) for name, array in before.items()}
