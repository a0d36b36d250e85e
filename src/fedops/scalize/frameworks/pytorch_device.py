"""The accelerators that PyTorch sees."""

from __future__ import annotations

import os

import torch

from fedops.config.schema import Resources
from fedops.scalize.adapter.accelerators import Accelerator, bound_memory, choose_accelerator


class TorchHardware:
    """A ``Hardware``."""

    name = "PyTorch"

    def cuda_devices(self) -> int:
        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    def has_mps(self) -> bool:
        return torch.backends.mps.is_available()

    def memory_of(self, kind: str, index: int) -> int:
        if kind == "mps":
            return torch.mps.recommended_max_memory()
        return int(torch.cuda.get_device_properties(index).total_memory)

    def limit_memory(self, kind: str, index: int, share: float) -> None:
        if kind == "mps":
            torch.mps.set_per_process_memory_fraction(share)
        else:
            torch.cuda.set_per_process_memory_fraction(share, index)


def pick_accelerator(wanted: Resources) -> Accelerator:
    """What PyTorch computes on, with its memory bounded as was said."""
    hardware = TorchHardware()
    found = choose_accelerator(wanted, hardware, os.environ)
    bound_memory(found, wanted, hardware)
    return found


def torch_device(accelerator: Accelerator) -> torch.device:
    if accelerator.kind == "cpu":
        return torch.device("cpu")
    return torch.device(accelerator.kind, accelerator.index)
