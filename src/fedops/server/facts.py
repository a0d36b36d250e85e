"""Rows as the plain facts that ``core.why`` and the policies decide on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import EngineProgress, ProcessReport, Stage
from fedops.core.policies import clients_needed, is_online
from fedops.core.states import RUN_TERMINAL, AttemptStatus, Enrolment, ProcessStatus, RunStatus
from fedops.core.why import AttemptFacts, DeviceFacts, RunFacts, WorkFacts, unavailable
from fedops.server import deadlines, open_work, stops
from fedops.server.tables import AttemptRow, DeviceRow, MembershipRow, RunRow
from fedops.server.twins import PROBLEM as TWINS
from fedops.settings import ServerSettings
from fedops.storage.disk import full_disk

#: What Flower's strategies ask for when their arguments do not say.
FLOWER_MINIMUM = 2


def of_device(
    row: DeviceRow | Member, tasks: Iterable[str], now: float, work: Sequence[WorkFacts] = ()
) -> DeviceFacts:
    """A device at ``now``."""
    seen = row.last_heartbeat_at
    return DeviceFacts(
        name=row.name,
        enrolment=row.enrolment,
        online=is_online(row.present_until, now),
        last_seen_seconds=None if seen is None else max(now - seen, 0.0),
        process=_at_work(process_of(row, now), work),
        tasks=tuple(tasks),
        problems=tuple(row.problems),
        work=tuple(work),
    )


def process_of(row: DeviceRow | Member, now: float) -> ProcessReport:
    """The training client as last reported, its time in this state counted on."""
    report = ProcessReport.model_validate(row.process)
    since = 0.0 if row.process_at is None else max(now - row.process_at, 0.0)
    return report.model_copy(update={"seconds_in_state": report.seconds_in_state + since})


def _at_work(report: ProcessReport, work: Iterable[WorkFacts]) -> ProcessReport:
    """The report with what the device says of its work, which comes sooner than the next report."""
    if report.status not in _LOADED:
        return report
    one = next((w for w in work if w.stage in _STATUS_OF), None)
    status = _STATUS_OF[one.stage] if one else ProcessStatus.IDLE
    if status is report.status:
        return report
    values = {"status": status, "seconds_in_state": 0.0, "limit_seconds": None}
    where = {"task": one.task, "run_id": one.run_id, "round": one.round} if one else _NOWHERE
    return report.model_copy(update={**values, **where})


_LOADED = (ProcessStatus.IDLE, ProcessStatus.TRAINING, ProcessStatus.EVALUATING)
_STATUS_OF = {Stage.TRAINING: ProcessStatus.TRAINING, Stage.EVALUATING: ProcessStatus.EVALUATING}
_NOWHERE = {"task": None, "run_id": None, "round": None}


def idle_seconds(row: DeviceRow | Member, now: float) -> float:
    """How long the training client has had nothing in hand; 0 while it works."""
    process = process_of(row, now)
    return process.seconds_in_state if process.status is ProcessStatus.IDLE else 0.0


def tasks_by_device(session: Session) -> dict[str, list[str]]:
    """The tasks each device takes part in, by device id."""
    found: dict[str, list[str]] = defaultdict(list)
    query = select(MembershipRow.device_id, MembershipRow.task).order_by(MembershipRow.task)
    for device_id, task in session.execute(query):
        found[device_id].append(task)
    return found


@dataclass(frozen=True, slots=True)
class Member:
    """What is looked at of a task's devices, of which there may be thousands: no ORM objects."""

    id: str
    name: str
    node_number: int
    enrolment: Enrolment
    last_heartbeat_at: float | None
    present_until: float | None
    process: dict[str, Any]
    process_at: float | None
    problems: list[str]


_MEMBER = tuple(getattr(DeviceRow, column.name) for column in fields(Member))


def members(session: Session, task: str) -> list[Member]:
    """The approved devices of a task, by name."""
    query = (
        select(*_MEMBER)
        .join(MembershipRow, MembershipRow.device_id == DeviceRow.id)
        .where(MembershipRow.task == task, DeviceRow.enrolment == Enrolment.APPROVED)
        .order_by(DeviceRow.name)
    )
    return [Member(*row) for row in session.execute(query)]


def why_not(
    row: DeviceRow | Member, task: str, refused: Mapping[str, str], now: float
) -> str | None:
    """Why a device cannot be invited to the next round of a run of ``task``, if it cannot."""
    return _why_not(of_device(row, (task,), now), task, refused)


def _why_not(device: DeviceFacts, task: str, refused: Mapping[str, str]) -> str | None:
    if TWINS in device.problems:
        return TWINS
    return unavailable(device, task, refused.get(device.name))


def of_run(
    session: Session,
    run: RunRow,
    attempt: AttemptRow | None,
    settings: ServerSettings,
    now: float,
) -> RunFacts:
    """A run at ``now``."""
    rows = [] if run.status in RUN_TERMINAL else members(session, run.task)
    progress = _progress(attempt)
    trains = progress is not None and progress.phase == "training"
    work = open_work.by_device(session) if trains else {}
    devices = [of_device(row, (run.task,), now, work.get(row.id, ())) for row in rows]
    reasons = {d.name: _why_not(d, run.task, run.refused) for d in devices}
    ending = run.status in (RunStatus.STOPPING, RunStatus.PAUSING)
    since = attempt.progress_at if attempt else None
    return RunFacts(
        id=run.id,
        status=run.status,
        rounds=run.rounds,
        committed_rounds=run.committed_rounds,
        seconds_in_state=max(now - run.status_since, 0.0),
        attempt=run.current_attempt,
        needed=_needed(run),
        devices=devices,
        unavailable={name: why for name, why in reasons.items() if why is not None},
        progress=progress,
        limit_seconds=deadlines.of_run(run, progress, settings),
        progress_seconds=0.0 if since is None else max(now - since, 0.0),
        asked=len(stops.asked(session, run, now)) if ending else 0,
        unconfirmed=stops.unconfirmed(session, run.id, now) if ending else (),
        reason=run.reason,
        text=run.text,
        version=run.version,
        metrics=run.metrics,
        full_disk=full_disk.where or (progress.full_disk if progress else None),
    )


def of_attempt(
    run: RunRow, attempt: AttemptRow, settings: ServerSettings, now: float
) -> AttemptFacts:
    """An attempt of a run at ``now``."""
    progress, since, limit = None, attempt.started_at, None
    if attempt.status is AttemptStatus.STARTING:
        limit = settings.attempt_start_seconds
    elif attempt.status is AttemptStatus.RUNNING:
        progress, since = _progress(attempt), attempt.progress_at or attempt.started_at
        limit = deadlines.of_phase(run, progress, settings)
    return AttemptFacts(
        status=attempt.status,
        pid=attempt.pid,
        seconds=max(now - since, 0.0),
        limit_seconds=limit,
        progress=progress,
        reason=attempt.reason,
    )


def _progress(attempt: AttemptRow | None) -> EngineProgress | None:
    if attempt is None or attempt.progress is None:
        return None
    return EngineProgress.model_validate(attempt.progress)


def _needed(run: RunRow) -> int:
    strategy = run.config.get("server", {}).get("strategy", {})
    return clients_needed(
        run.config.get("clients_per_round"),
        _number(strategy, "min_fit_clients", "min_train_nodes"),
        _number(strategy, "min_available_clients", "min_available_nodes"),
    )


def _number(table: dict[str, object], *names: str) -> int:
    given = [table[name] for name in names if isinstance(table.get(name), int)]
    return int(str(given[0])) if given else FLOWER_MINIMUM
