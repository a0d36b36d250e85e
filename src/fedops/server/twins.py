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
    lives: list[str] = field(default_factory=list)  # the newest last
    twins_at: float = float("-inf")


class Twins:
    """Thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._heard: dict[str, _Heard] = {}
        self._lock = threading.Lock()

    def heard(self, device_id: str, life: str) -> bool:
        """A life of a device's Client Manager called; whether more than one of them runs."""
        with self._lock:
            now, heard = self._monotonic(), self._heard.setdefault(device_id, _Heard())
            if life and life in heard.lives[:-1]:
                heard.twins_at = now
                heard.lives.remove(life)
            if life and life not in heard.lives[-1:]:
                heard.lives = [*heard.lives, life][-_LIVES:]
            return now - heard.twins_at < REMEMBERED_SECONDS
