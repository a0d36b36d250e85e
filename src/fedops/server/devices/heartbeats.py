"""What a device says of itself with its polls, where that is news, and what follows from it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from fedops.core.contracts import ProcessReport, WorkPoll
from fedops.core.presence import present_until
from fedops.core.reasons.durations import duration
from fedops.core.reasons.readiness import refused_tasks
from fedops.core.states import ENROLMENT_IN, ProcessStatus, ReadinessStatus
from fedops.server.assignments import open_work
from fedops.server.database.tables import DeviceRow
from fedops.server.devices import invitations, presence_history
from fedops.server.devices.membership import enter_tasks
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import DeviceBack, DeviceLife, notify

#: Changes of the training client that belong in the log; the others come with every round.
_NOTEWORTHY = (ProcessStatus.BACKOFF, ProcessStatus.FATAL)


def record_heartbeat(
    session: Session,
    device_id: str,
    body: WorkPoll,
    interval: float,
    now: float,
    *,
    twins: bool = False,
) -> bool:
    """A device says that it is there, and how it is. ``twins``: more than one does so.

    ``interval``: how often it is to call, in seconds. Returns whether it was let in: until then it enters no
    task, and hears of none.
    """
    row = session.get_one(DeviceRow, device_id)
    if body.life:
        notify(session, DeviceLife(device_id, body.life, now))
    waiting = invitations.waiting_attempts(session, row)
    before = invitations.could_invite(row, waiting, now)
    _note_online(session, row, now)
    _note_process(session, row, body.process, now)
    row.last_heartbeat_at, row.present_until = now, present_until(now, interval)
    row.spool_records, row.spool_dropped = body.spool_records, body.spool_dropped
    if body.info is not None:
        row.info = body.info.model_dump()
    let_in = row.enrolment in ENROLMENT_IN
    if let_in and enter_tasks(session, row, body.tasks, now, twins):
        waiting = invitations.waiting_attempts(session, row)
    session.flush()
    ready = invitations.could_invite(row, waiting, now)
    invitations.tell_ready(session, ready - before)
    return let_in


def _note_online(session: Session, row: DeviceRow, now: float) -> None:
    if row.noted_online:
        return
    row.noted_online = True
    presence_history.note_online(session, row.id, now)
    away = "" if row.last_heartbeat_at is None else f"after {duration(now - row.last_heartbeat_at)}"
    subject = f"device {row.name}"
    event_log.append_event(session, now, subject, subject, "device.online", away)
    waits = tuple(open_work.attempts_waiting_for(session, row.id))
    notify(session, DeviceBack(row.id, row.name, waits))


def _note_process(session: Session, row: DeviceRow, report: ProcessReport, now: float) -> None:
    said = ProcessReport.model_validate(row.process)
    _note_readiness(session, row, said, report, now)
    before = said.status
    changed = report.status is not before
    if changed and (report.status in _NOTEWORTHY or before in _NOTEWORTHY):
        subject = f"device {row.name}"
        states = (before, report.status)
        why = report.reason or ""
        event_log.append_transition(
            session, Change(subject, why, now), subject, states, report.run_id
        )
    row.process, row.process_at = report.model_dump(mode="json"), now


def _note_readiness(
    session: Session, row: DeviceRow, before: ProcessReport, after: ProcessReport, now: float
) -> None:
    """Say once that the device is not ready for a task, and once that it is again."""
    was, now_is = ({e.task: e.reason for e in refused_tasks(p)} for p in (before, after))
    ready = {e.task for e in after.readiness if e.status is ReadinessStatus.READY}
    subject = f"device {row.name}"
    for task, why in now_is.items():
        if was.get(task) != why:
            text = f"task {task}: {why}" if task else why
            event_log.append_event(session, now, subject, subject, "device.not_ready", text)
    for task in sorted(was.keys() & ready, key=str):
        text = f"task {task}" if task else ""
        event_log.append_event(session, now, subject, subject, "device.ready", text)
