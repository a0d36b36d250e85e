"""What devices measured of themselves, as a rich table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from fedops.console.format import bytes_of, moment, table
from fedops.core import contracts as c

#: The columns of a sample, with their titles; a device that cannot measure one leaves it empty.
_MEASURED = {
    "cpu_percent": "CPU %",
    "memory_percent": "MEMORY %",
    "training_memory_mb": "TRAINING MB",
    "disk_free_mb": "DISK FREE MB",
    "net_sent_bytes": "SENT",
    "net_received_bytes": "RECEIVED",
    "gpu0_percent": "GPU %",
    "battery_percent": "BATTERY %",
}


def telemetry_table(samples: Sequence[c.TelemetryRead]) -> RenderableType:
    """The samples, a line each; what no sample has is no column."""
    if not samples:
        return (
            "No telemetry yet (a device's owner may keep it: 'telemetry = false' in device.toml)."
        )
    measured = [name for name in _MEASURED if any(name in sample.values for sample in samples)]
    titles = [_MEASURED[name] for name in measured]
    shown = time_of_day if len({moment(s.at)[:10] for s in samples}) == 1 else moment
    result = table("TIME", "RUN", *titles, right=titles)
    for sample in samples:
        values = (_measured(name, sample.values.get(name)) for name in measured)
        result.add_row(
            shown(sample.at), "-" if sample.run_id is None else str(sample.run_id), *values
        )
    return result


def time_of_day(at: float) -> str:
    """Enough where all is of one day."""
    return moment(at).partition(" ")[2]


def _measured(name: str, value: object) -> str:
    if not isinstance(value, int | float):
        return "-"
    return bytes_of(int(value)) if name.endswith("_bytes") else f"{value:g}"
