"""Devices on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import RenderableType

from fedops.console.format import (
    bytes_of,
    coloured,
    fields,
    moment,
    or_dash,
    table_of,
    version_name,
)
from fedops.core import contracts as c
from fedops.core.reasons.durations import duration
from fedops.core.reasons.readiness import refusal_text, refused_tasks
from fedops.core.states import Enrolment, ProcessStatus, ReadinessStatus

NOT_READY = "not ready"


def presence(device: c.DeviceRead) -> str:
    """What matters most about a device, in one word."""
    if device.enrolment is not Enrolment.APPROVED:
        return device.enrolment
    if not device.online:
        return "offline"
    return process_word(device.process)


def process_word(process: c.ProcessReport) -> str:
    """The state of a training client: one that is idle and could not work is no ready one."""
    idle = process.status is ProcessStatus.IDLE
    return NOT_READY if idle and refused_tasks(process) else process.status


def readiness_lines(process: c.ProcessReport) -> str:
    """What its own trials say, one line a task."""
    return "\n".join(map(_readiness_line, process.readiness))


def _readiness_line(entry: c.Readiness) -> str:
    task = f"task '{entry.task}': " if entry.task else ""
    word = NOT_READY if entry.status is ReadinessStatus.REFUSED else str(entry.status)
    why = f": {entry.reason}" if entry.reason else ""
    return f"{task}{word} for {duration(entry.seconds)}{why}"


def refusal_line(process: c.ProcessReport) -> str:
    """The last work that it could not do, while nothing shows that it could now."""
    return refusal_text(process.refusal) if process.refusal else ""


def devices_table(devices: Sequence[c.DeviceRead]) -> RenderableType:
    if not devices:
        return "No device yet: 'fedops token create' makes a token with which one can join."
    titles = ("DEVICE", "STATE", "TASKS", "TAGS", "RUN", "ROUND", "LAST SEEN", "FEDOPS", "WHY")
    rows = [
        (
            device.name,
            coloured(presence(device)),
            ", ".join(device.tasks) or "-",
            ", ".join(device.tags) or "-",
            or_dash(device.process.run_id),
            or_dash(device.process.round),
            last_seen(device),
            device.other_release or "-",
            device.why,
        )
        for device in devices
    ]
    return table_of(titles, rows, optional=("TASKS", "TAGS", "RUN", "ROUND", "FEDOPS"))


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
            "tags": ", ".join(device.tags) or "-",
            "last seen": last_seen(device),
            "tasks": ", ".join(device.tasks),
            "process": _process(device.process),
            "readiness": readiness_lines(device.process),
            "last refusal": refusal_line(device.process),
            "trains on": trains_on(device.process),
            "data": examples(device.process),
            "host": f"{device.info.hostname}, {device.info.platform}",
            "software": f"fedops {device.other_release or device.info.fedops}; Python {device.info.python}",
            "libraries": _libraries(device.info),
            "hardware": f"{device.info.cpus} CPUs, {bytes_of(device.info.memory_bytes)} memory"
            + (f", {device.info.gpu}" if device.info.gpu else ""),
            "joined": moment(device.created_at),
            "id": device.id,
        }
    )


def _libraries(info: c.DeviceInfo) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(info.libraries.items()))


def examples(process: c.ProcessReport) -> str:
    """How much data there is to train and to evaluate on, as far as the device said so."""
    if process.training_examples is None:
        return ""
    held_out = process.validation_examples
    parts = [f"{process.training_examples} examples to train on"]
    return ", ".join(parts + ([] if held_out is None else [f"{held_out} to evaluate on"]))


def trains_on(process: c.ProcessReport) -> str:
    """The accelerator, and why it is not the one that was asked for."""
    problem = process.accelerator_problem
    return f"{process.accelerator} ({problem})" if problem else process.accelerator


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


def upgrade_view(found: c.UpgradeRead) -> list[RenderableType]:
    """An upgrade: where it is, and of each device what it has, what is wanted, since when, and why."""
    wave = f", wave {found.wave}" if found.wave else ""
    head = f"FedOps {found.release} is {found.status}{wave}" + (
        f": {found.why}" if found.why else ""
    )
    titles = ("DEVICE", "RELEASE", "WANTED", "STATE", "SINCE", "WHY")
    rows = [
        (
            one.device,
            one.release or "-",
            one.wanted or "-",
            coloured(one.status),
            duration(time.time() - one.since),
            one.why,
        )
        for one in found.devices
    ]
    return [head, *([table_of(titles, rows, optional=("WANTED", "WHY"))] if rows else [])]


def touched_view(found: c.DeviceTouched) -> list[RenderableType]:
    """Where the updates of a device are, and what to do next."""
    if not found.touched:
        return [f"No committed round has an update of {found.device.name}.", *found.next_steps]
    titles = ("TASK", "RUN", "ROUNDS", "BEGAN FROM", "VERSION", "STATE")
    rows = [
        (
            run.task,
            str(run.run_id),
            ", ".join(map(str, run.rounds)),
            run.began_from,
            version_name(run.version),
            "quarantined" if run.quarantine is not None else "",
        )
        for run in found.touched
    ]
    result = table_of(titles, rows, right=("RUN",), optional=("ROUNDS", "BEGAN FROM", "STATE"))
    return [result, *found.next_steps]
