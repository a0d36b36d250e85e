"""How the two processes of a device are set up: what ends the one, and the environment of the other."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

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


def child_env(config: DeviceConfig) -> dict[str, str]:
    """What the training client's environment has beside ours."""
    env = {"FLWR_TELEMETRY_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    if threads := config.limits.threads:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        env |= dict.fromkeys(names, str(threads))
    return env
