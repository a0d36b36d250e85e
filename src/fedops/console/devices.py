"""Devices on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from fedops.console.format import bytes_of, coloured, fields, moment, or_dash, table_of
from fedops.core import contracts as c
from fedops.core.states import Enrolment


def presence(device: c.DeviceRead) -> str:
    """What matters most about a device, in one word."""
    if device.enrolment is not Enrolment.APPROVED:
        return device.enrolment
    return device.process.status if device.online else "offline"


def devices_table(devices: Sequence[c.DeviceRead]) -> RenderableType:
    if not devices:
        return "No device yet: 'fedops token create' makes a token with which one can join."
    titles = ("DEVICE", "STATE", "TASKS", "RUN", "ROUND", "LAST SEEN", "WHY")
    rows = [
        (
            device.name,
            coloured(presence(device)),
            ", ".join(device.tasks) or "-",
            or_dash(device.process.run_id),
            or_dash(device.process.round),
            last_seen(device),
            device.why,
        )
        for device in devices
    ]
    return table_of(titles, rows, optional=("TASKS", "RUN", "ROUND"))


def last_seen(device: c.DeviceRead) -> str:
    seconds = device.last_seen_seconds
    return "never" if seconds is None else f"{seconds:.0f} s ago"


def device_fields(device: c.DeviceRead) -> RenderableType:
    return fields(
        {
            "device": device.name,
            "state": coloured(presence(device)),
            "why": device.why,
            "enrolment": device.enrolment,
            "last seen": last_seen(device),
            "tasks": ", ".join(device.tasks),
            "process": _process(device.process),
            "host": f"{device.info.hostname}, {device.info.platform}",
            "software": f"fedops {device.info.fedops}, Python {device.info.python}",
            "hardware": f"{device.info.cpus} CPUs, {bytes_of(device.info.memory_bytes)} memory"
            + (f", {device.info.gpu}" if device.info.gpu else ""),
            "joined": moment(device.created_at),
            "id": device.id,
        }
    )


def _process(process: c.ProcessReport) -> str:
    parts = [str(process.status)]
    if process.pid:
        parts.append(f"process {process.pid}")
    if process.run_id is not None:
        parts.append(f"run {process.run_id}")
    if process.round is not None:
        parts.append(f"round {process.round}")
    if process.restarts:
        parts.append(f"restarted {process.restarts} times")
    return ", ".join([*parts, *([process.reason] if process.reason else [])])
