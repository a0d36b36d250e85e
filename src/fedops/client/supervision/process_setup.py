"""How the two processes of a device are set up: what ends the one, and the environment of the other."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping

from fedops.client.device.device_config import DeviceConfig


class Signals:
    """Turns SIGTERM and SIGINT into a call, where this thread may do so."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, lambda *_: self._end())

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def child_env(config: DeviceConfig, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the training client's environment has beside ours (``base``)."""
    env = {"FLWR_TELEMETRY_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    if threads := config.limits.threads:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        env |= dict.fromkeys(names, str(threads))
    return env | _accelerator_env(config.limits.accelerator, base)


def _accelerator_env(accelerator: str, base: Mapping[str, str]) -> dict[str, str]:
    """Hides what the owner did not choose, also from an app that picks its device itself."""
    if accelerator in ("auto", "cuda"):
        return {}
    if accelerator.startswith("cuda:"):
        number = accelerator.removeprefix("cuda:")
        # As nvidia-smi counts, and CUDA only if it is told so.
        return {
            "CUDA_VISIBLE_DEVICES": _of_visible(number, base),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        }
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    return hidden | (
        {"KERAS_TORCH_DEVICE": "cpu", "JAX_PLATFORMS": "cpu"} if accelerator == "cpu" else {}
    )


def _of_visible(number: str, base: Mapping[str, str]) -> str:
    """The device of that number. Where we see only some ourselves, it is counted among them."""
    ours = base.get("CUDA_VISIBLE_DEVICES")
    if ours is None:
        return number
    visible = [name.strip() for name in ours.split(",") if name.strip()]
    return visible[int(number)] if int(number) < len(visible) else ""
