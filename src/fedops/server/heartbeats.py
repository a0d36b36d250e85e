"""Heartbeats: what a device says of itself, and what follows from it."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fedops.core.contracts import Heartbeat, ProcessReport
from fedops.core.states import Enrolment, ProcessStatus
from fedops.core.why import span
from fedops.server import events, facts, stops, tasks
from fedops.server.devices import tasks_of
from fedops.server.notices import AttemptSignal, DeviceChanged, tell
from fedops.server.run_states import LIVE
from fedops.server.tables import AttemptRow, DeviceRow, MembershipRow, RunRow, TaskRow
from fedops.settings import ServerSettings

#: Changes of the training client that belong in the log; the others come with every round.
_NOTEWORTHY = (ProcessStatus.BACKOFF, ProcessStatus.FATAL)


def beat(
    session: Session, device_id: str, body: Heartbeat, settings: ServerSettings, now: float
) -> None:
    """A device says that it is there, and how it is."""
    row = session.get_one(DeviceRow, device_id)
    ready_before = _ready_for(session, row, settings, now)
    _note_online(session, row, now)
    _note_process(session, row, body.process, now)
    row.last_heartbeat_at = now
    row.spool_records, row.spool_dropped = body.spool_records, body.spool_dropped
    _enter_tasks(session, row, body.tasks, now)
    session.flush()
    stops.note(session, device_id, body, settings, now)
    _tell_ready(session, row, _ready_for(session, row, settings, now) - ready_before)


def _note_online(session: Session, row: DeviceRow, now: float) -> None:
    if row.noted_online:
        return
    row.noted_online = True
    away = "" if row.last_heartbeat_at is None else f"after {span(now - row.last_heartbeat_at)}"
    subject = f"device {row.name}"
    events.append(session, now, subject, subject, "device.online", away)


def _note_process(session: Session, row: DeviceRow, report: ProcessReport, now: float) -> None:
    before = ProcessReport.model_validate(row.process).status
    changed = report.status is not before
    if changed and (report.status in _NOTEWORTHY or before in _NOTEWORTHY):
        subject = f"device {row.name}"
        states = (before, report.status)
        why = report.reason or ""
        events.moved(session, now, subject, subject, states, why, report.run_id)
    row.process, row.process_at = report.model_dump(mode="json"), now


def _enter_tasks(session: Session, row: DeviceRow, wanted: list[str], now: float) -> None:
    """Make the device a member of exactly the tasks it asks for, as far as that can be."""
    current = set(tasks_of(session, row.id))
    if set(wanted) == current and not row.problems:
        return
    problems = tasks.unready(session, sorted(set(wanted)))
    known = set(session.scalars(select(TaskRow.name).where(TaskRow.name.in_(wanted))))
    for task in sorted(known - current):
        session.add(MembershipRow(device_id=row.id, task=task, since=now))
        _log_membership(session, row, "joined", task, now)
    for task in sorted(current - known):
        chosen = (MembershipRow.device_id == row.id, MembershipRow.task == task)
        session.execute(delete(MembershipRow).where(*chosen))
        _log_membership(session, row, "left", task, now)
    if known != current or problems != row.problems:
        row.problems = problems
        tell(session, DeviceChanged(row.id))


def _log_membership(session: Session, row: DeviceRow, what: str, task: str, now: float) -> None:
    subject = f"device {row.name}"
    events.append(session, now, subject, subject, f"device.{what}_task", f"task {task}", task=task)


# --- runs that wait for it -------------------------------------------------------------------


def _ready_for(session: Session, row: DeviceRow, settings: ServerSettings, now: float) -> set[int]:
    """The live attempts that could invite the device now."""
    if row.enrolment is not Enrolment.APPROVED:
        return set()
    query = (
        select(AttemptRow.id, RunRow)
        .join(RunRow, RunRow.id == AttemptRow.run_id)
        .join(MembershipRow, MembershipRow.task == RunRow.task)
        .where(MembershipRow.device_id == row.id, AttemptRow.status.in_(LIVE))
    )
    interval = settings.heartbeat_seconds
    return {
        attempt_id
        for attempt_id, run in session.execute(query)
        if facts.why_not(row, run, interval, now) is None
    }


def _tell_ready(session: Session, row: DeviceRow, attempt_ids: set[int]) -> None:
    """A round that waits for devices should look again."""
    text = f"device {row.name} is ready"
    signals = [AttemptSignal(i, "command", row.name, text) for i in sorted(attempt_ids)]
    tell(session, *signals)
