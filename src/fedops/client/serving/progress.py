"""How far the device is with the model that it serves: set by one thread, read by others."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from fedops.core.states import ServingStatus


@dataclass(frozen=True)
class Progress:
    """Versions by number."""

    status: ServingStatus = ServingStatus.WAITING
    reason: str = ""
    stalled: bool = False
    wanted: int | None = None
    active: int | None = None
    #: The version that can be put back.
    before: int | None = None


class ProgressBook:
    """Remembers since when it is so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Progress()
        self._since = time.monotonic()

    def set(self, status: ServingStatus, reason: str = "", *, stalled: bool = False) -> bool:
        """How it goes. Whether that is news."""
        return self._change(status=status, reason=reason, stalled=stalled)

    def versions(self, wanted: int | None, active: int | None, before: int | None) -> bool:
        """Which is wanted, which is served, which could be put back. Whether that is news."""
        return self._change(wanted=wanted, active=active, before=before)

    def read(self) -> tuple[Progress, float]:
        """How it goes, and for how many seconds already."""
        with self._lock:
            return self._now, time.monotonic() - self._since

    def _change(self, **values: Any) -> bool:
        with self._lock:
            before, self._now = self._now, replace(self._now, **values)
            if before == self._now:
                return False
            self._since = time.monotonic()
            return True
