"""Copies of a device: a data dir that was copied, with key and token, and runs in two places.

Each Client Manager says which life of it is calling. A life that is heard again after another one of the
same device was heard has not ended: two of them run. Kept in memory: it shows again soon enough.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: What is said to the operator and to both Client Managers.
PROBLEM = (
    "two Client Managers run as this device, so its data dir was copied: end the copy, and let it join "
    "as a device of its own ('fedops join ... --home ANOTHER_DIR', or without the copied dir)"
)
#: How long after the last sign of a second one it is said still. Seconds.
REMEMBERED_SECONDS = 30.0
_LIVES = 16


@dataclass
class _Heard:
    #: Each life with when it was first heard, or last after another one. The newest last.
    lives: list[tuple[str, float]] = field(default_factory=list)
    twins_at: float = float("-inf")


class ClonedDevices:
    """Thread-safe. ``clock``: any that all who tell of a life go by."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, _Heard] = {}
        self._lock = threading.Lock()

    def heard(self, device_id: str, life: str, at: float | None = None) -> bool:
        """A life of a device's Client Manager called; whether more than one of them runs.

        ``at``: when it called another Server Manager. What comes late changes nothing about what was later.
        """
        with self._lock:
            now, heard = self._clock(), self._heard.setdefault(device_id, _Heard())
            if life:
                _note(heard, life, now if at is None else at)
            return now - heard.twins_at < REMEMBERED_SECONDS


def _note(heard: _Heard, life: str, at: float) -> None:
    names = [name for name, _ in heard.lives]
    if life in names:
        newer = heard.lives[names.index(life) + 1 :]
        if not any(began <= at for _, began in newer):
            return
        heard.twins_at = max(heard.twins_at, at)
        del heard.lives[names.index(life)]
    place = sum(began <= at for _, began in heard.lives)
    heard.lives.insert(place, (life, at))
    del heard.lives[:-_LIVES]
