"""What a device measured of itself, under its rounds, so that causes meet effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedops.server.dashboard.look import lanes
from fedops.server.dashboard.look.lanes import Axis, Block
from fedops.server.dashboard.look.states import look_of
from fedops.server.dashboard.pages.devices.device_view import device_of
from fedops.server.dashboard.web.view import View
from fedops.server.telemetry import device_rounds, system_metrics
from fedops.server.telemetry.device_rounds import DeviceRound

_SAMPLES, _ROUNDS = 300, 50
#: What is measured, how it is called, and in what: "%", "MB" or "bytes".
_MEASURED = (
    ("cpu_percent", "CPU", "%"),
    ("memory_percent", "Memory", "%"),
    ("training_memory_mb", "Memory of the training client", "MB"),
    ("gpu0_percent", "GPU", "%"),
    ("disk_free_mb", "Disk free", "MB"),
    ("net_received_bytes", "Received since the sample before", "bytes"),
    ("net_sent_bytes", "Sent since the sample before", "bytes"),
    ("battery_percent", "Battery", "%"),
)


def measured(view: View) -> dict[str, Any]:
    """Its newest samples, a lane for each measure, on the axis of its rounds."""
    device = device_of(view)
    samples = system_metrics.latest_samples(view.session, device.id, _SAMPLES, view.tasks)
    if not samples:
        return {"lanes": [], "rounds": None}
    axis = Axis(samples[0].at, max(samples[-1].at, samples[0].at + 1))
    found = device_rounds.newest_rounds(view.session, device.id, _ROUNDS, view.tasks)
    blocks = _blocks(found, axis, view.now)
    moments = [one.at for one in samples]
    drawn = []
    for name, title, unit in _MEASURED:
        line = [_number(one.values.get(name)) for one in samples]
        known = [value for value in line if value is not None]
        if known:
            picture = lanes.values(axis, moments, line, blocks, f"{title} over time")
            drawn.append((title, unit, picture, min(known), max(known), known[-1]))
    return {
        "lanes": drawn,
        "rounds": lanes.blocks(axis, blocks, "Its rounds over the same time"),
        "shown": len(blocks),
        "begin": axis.begin,
        "end": axis.end,
    }


def _blocks(found: Sequence[DeviceRound], axis: Axis, now: float) -> list[Block]:
    """The rounds that were going on in the time that is shown."""
    return [
        Block(one.started_at, end, str(look_of(one.status).tone), _said(one))
        for one in found
        if (end := one.committed_at or now) >= axis.begin and one.started_at <= axis.end
    ]


def _said(one: DeviceRound) -> str:
    reason = f": {one.reason}" if one.reason else ""
    return f"round {one.round} of run {one.run_id}, {one.status.value}{reason}"


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]
