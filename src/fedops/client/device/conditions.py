"""Whether this machine meets its owner's ``[conditions]`` just now: measured, and remembered for a while."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import datetime

import psutil

from fedops.core.contracts import ProcessReport
from fedops.core.reasons.conditions import Circumstances, Conditions, unmet_conditions
from fedops.platforms.networks import network_is_metered

#: How old an answer may be. Seconds.
LOOK_SECONDS = 10.0


def circumstances_here(wanted: Conditions) -> Circumstances:
    """How this machine is placed, as far as a condition asks for it."""
    now = datetime.now().astimezone()
    on_mains, percent = _power() if wanted.charging or wanted.battery_percent else (None, None)
    return Circumstances(
        on_mains=on_mains,
        battery_percent=percent,
        metered=network_is_metered() if wanted.unmetered else None,
        memory_mb=psutil.virtual_memory().available // (1 << 20) if wanted.memory_mb else None,
        minute=60 * now.hour + now.minute,
    )


def _power() -> tuple[bool | None, float | None]:
    """Whether it is on mains, and how full its battery is, in percent."""
    if not hasattr(psutil, "sensors_battery"):
        return None, None
    with contextlib.suppress(OSError, psutil.Error, NotImplementedError, ValueError):
        battery = psutil.sensors_battery()
        if battery is None:
            return True, None
        return battery.power_plugged, float(battery.percent)
    return None, None


class ConditionWatch:
    """Looks every few seconds, and tells when it is otherwise than before."""

    def __init__(
        self,
        wanted: Conditions,
        changed: Callable[[], None],
        measure: Callable[[Conditions], Circumstances] = circumstances_here,
    ) -> None:
        self._wanted, self._changed, self._measure = wanted, changed, measure
        self._lock = threading.Lock()
        self._looked: float | None = None
        self._unmet = ""

    def look(self) -> None:
        """Measure, if the last answer is too old."""
        now = time.monotonic()
        if self._wanted == Conditions():
            return
        with self._lock:
            if self._looked is not None and now - self._looked < LOOK_SECONDS:
                return
            first, self._looked = self._looked is None, now
        # Measuring may take seconds, and polls ask for the report meanwhile.
        unmet = "; ".join(unmet_conditions(self._wanted, self._measure(self._wanted)))
        with self._lock:
            before, self._unmet = self._unmet, unmet
        if unmet != before and not first:
            self._changed()

    def report(self, process: ProcessReport) -> ProcessReport:
        """The training client with what keeps it from taking new work."""
        with self._lock:
            return process.model_copy(update={"unmet_conditions": self._unmet})
