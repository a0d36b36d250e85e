"""The whole federation on one screen: what needs somebody first, then what goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import RenderableType

from fedops.console.format import coloured, fields, moment, table
from fedops.core import contracts as c
from fedops.core.reasons.durations import duration, first_few, pluralised
from fedops.core.reasons.readiness import refused_tasks
from fedops.core.states import RUN_TERMINAL, Enrolment, ProcessStatus, RunStatus

#: A run that failed longer ago than this needs nobody any more. Seconds.
_RECENT_SECONDS = 86_400.0
#: What is said of a server that others can reach without TLS.
INSECURE = (
    "this server speaks no TLS: whoever is on the way reads tokens, models and updates. Start it without "
    "--insecure"
)


@dataclass(frozen=True)
class FederationStatus:
    """What a server says of itself, its tasks, devices and newest runs."""

    info: c.ServerInfo
    tasks: Sequence[c.TaskRead]
    devices: Sequence[c.DeviceRead]
    runs: Sequence[c.RunRead]


def attention(status: FederationStatus) -> list[str]:
    """What needs somebody, with the next step, the most urgent first."""
    insecure = [f"INSECURE: {INSECURE}"] if status.info.insecure else []
    return [
        *insecure,
        *status.info.problems,
        *_waiting_devices(status),
        *_failed_runs(status),
        *_quarantined(status),
        *_troubled_devices(status),
    ]


def _waiting_devices(status: FederationStatus) -> Iterator[str]:
    waiting = [d.name for d in status.devices if d.enrolment is Enrolment.PENDING]
    if waiting:
        yield (
            f"{pluralised(len(waiting), 'device')} waiting for approval: {first_few(waiting)}"
            f" ('fedops device approve {waiting[0]}')"
        )


def _failed_runs(status: FederationStatus) -> Iterator[str]:
    """The newest run of each task, when it failed not long ago."""
    now = status.info.server_time
    for run in _newest_runs(status):
        if run.status is RunStatus.FAILED and now - (run.ended_at or now) < _RECENT_SECONDS:
            yield f"run {run.id} of {run.task} {run.why}"


def _newest_runs(status: FederationStatus) -> list[c.RunRead]:
    """Of each task."""
    return list({run.task: run for run in sorted(status.runs, key=lambda run: run.id)}.values())


def _quarantined(status: FederationStatus) -> Iterator[str]:
    """Devices that wait for a decision, and what the newest run of each task has made in vain."""
    for run in _newest_runs(status):
        if run.quarantine is not None:
            yield f"run {run.id} of {run.task}: {run.why}"
    aside = [d.name for d in status.devices if d.enrolment is Enrolment.QUARANTINED]
    if aside:
        yield (
            f"{pluralised(len(aside), 'device')} in quarantine: {first_few(aside)}"
            f" ('fedops device touched {aside[0]}')"
        )


def _troubled_devices(status: FederationStatus) -> Iterator[str]:
    """Approved devices that cannot work, equal reasons together."""
    reasons: dict[str, list[str]] = {}
    for device in status.devices:
        if device.enrolment is Enrolment.APPROVED and not _is_well(device):
            why = device.why if device.online else "offline"
            reasons.setdefault(why, []).append(device.name)
    for why, names in reasons.items():
        yield f"{pluralised(len(names), 'device')}: {why}: {first_few(names)}"


def _is_well(device: c.DeviceRead) -> bool:
    stuck = (ProcessStatus.FATAL, ProcessStatus.BACKOFF)
    process = device.process
    troubled = (
        process.status in stuck or bool(refused_tasks(process)) or process.refusal is not None
    )
    return device.online and not troubled


def status_view(status: FederationStatus) -> list[RenderableType]:
    """The screen."""
    urgent = attention(status)
    parts: list[RenderableType] = []
    parts += ["Needs you:", *(f"  {line}" for line in urgent), ""] if urgent else []
    going = [run for run in status.runs if run.status not in RUN_TERMINAL]
    online = sum(device.online for device in status.devices)
    parts.append(
        fields(
            {
                "server": f"FedOps {status.info.version}, FL servers: {status.info.engine}",
                "devices": f"{online} of {len(status.devices)} online",
                "tasks": ", ".join(t.name for t in status.tasks) or "none ('fedops task create')",
            }
        )
    )
    parts += (
        ["", _runs_table(going, status.info.server_time)] if going else ["", "No run is going on."]
    )
    return parts


def _runs_table(runs: Sequence[c.RunRead], now: float) -> RenderableType:
    result = table("RUN", "TASK", "STATUS", "ROUNDS", "SINCE", "WHY", right=("RUN", "ROUNDS"))
    for run in runs:
        rounds = f"{run.committed_rounds}/{run.rounds}"
        since = duration(max(now - (run.started_at or run.created_at), 0.0))
        result.add_row(str(run.id), run.task, coloured(run.status), rounds, since, run.why)
    return result


def event_line(event: c.EventRead) -> str:
    """One event: when, what, of whom, by whom."""
    text = f" ({event.text})" if event.text else ""
    return f"{moment(event.at)}  {event.name}  {event.subject}{text}  by {_by(event)}"


def _by(event: c.EventRead) -> str:
    """Who, in whose call if that was another's, with which token and from where as far as one may know."""
    person = f"user {event.by_user}" if event.by_user else None
    named = [] if person in (None, event.who) else [f"in a call of {person}"]
    token = [] if event.by_token is None else [f"token {event.by_token}"]
    address = [] if event.by_address is None else [f"from {event.by_address}"]
    more = ", ".join([*named, *token, *address])
    return f"{event.who} ({more})" if more else event.who
