"""The local model of a device that starts: its newest checkpoint of this very model, else a new one."""

from __future__ import annotations

import logging

from fedops.core.contracts import ParameterContract
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.storage.tensors import Tensors
from fedops.trainer.device_context import RoundMemory

logger = logging.getLogger("fedops.training")


def restore(adapter: ModelAdapter, memory: RoundMemory, seed: int) -> None:
    """Put the newest checkpoint that fits into the adapter. The run's own model comes with its messages."""
    found = memory.newest_checkpoint(lambda tensors: fits(tensors, adapter.contract))
    if found is None:
        logger.info("the local model is new, initialised by seed %d", seed)
        return
    adapter.set_tensors(found)
    logger.info("the local model is restored from this device's newest checkpoint of it")


def fits(tensors: Tensors, contract: ParameterContract) -> bool:
    """Whether these are the tensors of the model: the same names, shapes and dtypes, whatever its class."""
    found = {name: (array.dtype.name, array.shape) for name, array in tensors.items()}
    return found == {spec.name: (spec.dtype, tuple(spec.shape)) for spec in contract.parameters}
