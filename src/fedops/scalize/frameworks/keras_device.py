"""Where Keras computes: its backend decides when it is imported, by what the process can see.

So an owner chooses with ``[limits] accelerator``, which holds before that. An adapter is given a model
that is there already, and only says where it is when something else was asked for.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import Any

import keras

from fedops.config.schema import Resources
from fedops.scalize.adapter.accelerators import Accelerator, bound_memory, choose_accelerator


def accelerator_of(wanted: Resources) -> Accelerator:
    """Where Keras computes, with its memory bounded where the backend can do so later."""
    backend = str(keras.backend.backend())
    hardware = BackendHardware(backend)
    found = choose_accelerator(wanted, hardware, os.environ)
    kind = hardware.kind()
    if kind != found.kind:
        problem = found.problem or _elsewhere(wanted.accelerator, kind)
        found = Accelerator(kind, 0, kind, problem)  # type: ignore[arg-type]
    if backend == "torch":
        bound_memory(found, wanted, hardware.torch)
    elif wanted.accelerator_memory_mb and found.kind != "cpu":
        text = f"Keras on {backend} takes the accelerator's memory without the bound that was set"
        found = replace(found, problem="; ".join(filter(None, [found.problem, text])))
    return found


def _elsewhere(asked: str, kind: str) -> str:
    if asked == "auto":
        return ""
    return (
        f"Keras computes on '{kind}', not on '{asked}': it decides when it is imported; set 'accelerator' in "
        "[limits] of device.toml"
    )


class BackendHardware:
    """What Keras' backend sees: a ``Hardware``."""

    def __init__(self, backend: str) -> None:
        self.name = f"Keras on {backend}"
        self._backend = backend

    @property
    def torch(self) -> Any:
        return importlib.import_module("fedops.scalize.frameworks.pytorch_device").TorchHardware()

    def kind(self) -> str:
        """Where it computes."""
        if self._backend == "torch":
            place = str(importlib.import_module("keras.src.backend.torch.core").get_device())
            return place.partition(":")[0]
        return "cuda" if self.cuda_devices() else "cpu"

    def cuda_devices(self) -> int:
        if self._backend == "torch":
            return int(self.torch.cuda_devices())
        if self._backend == "tensorflow":
            config = importlib.import_module("tensorflow").config
            return len(config.list_physical_devices("GPU"))
        if self._backend == "jax":
            jax = importlib.import_module("jax")
            return len(jax.devices()) if jax.default_backend() == "gpu" else 0
        return 0

    def has_mps(self) -> bool:
        return self._backend == "torch" and bool(self.torch.has_mps())

    def memory_of(self, kind: str, index: int) -> int:
        return int(self.torch.memory_of(kind, index))

    def limit_memory(self, kind: str, index: int, share: float) -> None:
        self.torch.limit_memory(kind, index, share)
