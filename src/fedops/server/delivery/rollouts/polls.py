"""What devices say of the commits that they are to run, with their polls."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import DeploymentReport
from fedops.core.reasons.commits import short_commit
from fedops.core.states import (
    ATTEMPT_LIVE,
    DEPLOYMENT_TRANSITIONS,
    DeploymentStatus,
    can_advance,
)
from fedops.server.database.tables import (
    AttemptRow,
    DeploymentRow,
    DeviceRow,
    MembershipRow,
    RunRow,
)
from fedops.server.events import event_log
from fedops.server.events.notifications import (
    AttemptSignal,
    DeviceChanged,
    WorkForRollouts,
    notify,
)

D = DeploymentStatus
#: What is worth an event; the others come with every deployment.
_NOTEWORTHY = (D.ACTIVE, D.ROLLED_BACK, D.AWAITING_APPROVAL)


def note_reports(
    session: Session, device_id: str, reports: Sequence[DeploymentReport], now: float
) -> None:
    """Keep what a device says, of the tasks that it takes part in. Repeating is harmless.

    A device whose code comes from the server says so for its task from its first poll on; one that says
    nothing of a task any more runs a folder that was given to it, and is asked for no commit.
    """
    tasks = set(
        session.scalars(select(MembershipRow.task).where(MembershipRow.device_id == device_id))
    )
    query = select(DeploymentRow).where(DeploymentRow.device_id == device_id)
    rows = {row.task: row for row in session.scalars(query)}
    said = {report.task: report for report in reports if report.task in tasks}
    name = session.get_one(DeviceRow, device_id).name if said or rows else ""
    for task, report in said.items():
        row = rows.get(task) or _new_row(session, device_id, report, now)
        _note(session, row, name, report, now)
    for task in rows.keys() - said.keys():
        _forget(session, rows[task], name, now)
    session.flush()


def _new_row(
    session: Session, device_id: str, report: DeploymentReport, now: float
) -> DeploymentRow:
    row = DeploymentRow(
        task=report.task,
        device_id=device_id,
        attempt=0,
        after_seconds=0.0,
        status=D.DESIRED,
        status_since=now,
        reason="",
        stalled=False,
        report={},
    )
    session.add(row)
    notify(session, WorkForRollouts())
    return row


def _forget(session: Session, row: DeploymentRow, name: str, now: float) -> None:
    session.delete(row)
    _log(session, name, row.task, "left", "its code does not come from the server any more", now)
    notify(session, DeviceChanged(row.device_id), WorkForRollouts())


def _note(
    session: Session, row: DeploymentRow, name: str, report: DeploymentReport, now: float
) -> None:
    plain = report.model_dump(mode="json")
    if {**row.report, "seconds": 0.0} == {**plain, "seconds": 0.0} and _is_told(row, report):
        return
    was_local, was_settled = row.report.get("local", False), _is_settled(row)
    row.report, row.reported_at = plain, now
    if report.local and not was_local:
        row.desired, row.rollout, row.wave = None, None, None
        notify(session, DeviceChanged(row.device_id))
    if row.actual != report.active:
        row.actual, row.actual_since = report.active, now
        _tell_runs(session, row.task)
    if report.local or _is_of(row, report):
        _note_status(session, row, name, report, now)
    if was_settled != _is_settled(row):  # it is told less, or more, of what it is to run
        notify(session, DeviceChanged(row.device_id))
    notify(session, WorkForRollouts())


def _is_settled(row: DeploymentRow) -> bool:
    return row.status is D.ACTIVE and row.actual == row.desired


def _is_of(row: DeploymentRow, report: DeploymentReport) -> bool:
    """Whether it speaks of what is wanted, in the attempt that is wanted."""
    return row.desired is not None and (row.desired, row.attempt) == (
        report.commit,
        report.attempt,
    )


def _is_told(row: DeploymentRow, report: DeploymentReport) -> bool:
    """What it said before may be about what is wanted only since."""
    return not _is_of(row, report) or row.status is report.status


def _note_status(
    session: Session, row: DeploymentRow, name: str, report: DeploymentReport, now: float
) -> None:
    before, stalled = row.status, row.stalled
    if not can_advance(DEPLOYMENT_TRANSITIONS, before, report.status):
        return
    row.status, row.reason, row.stalled = report.status, report.reason, report.stalled
    if (before, stalled) == (row.status, row.stalled):
        return
    row.status_since = now
    commit = f"commit {short_commit(report.commit)}"
    why = f"{commit}: {report.reason}" if report.reason else commit
    if before is not row.status and row.status in _NOTEWORTHY:
        _log(session, name, row.task, row.status.value, why, now)
    if row.stalled and not stalled:
        _log(session, name, row.task, "stalled", why, now)


def _log(session: Session, name: str, task: str, what: str, text: str, now: float) -> None:
    who, event = f"device {name}", f"deployment.{what}"
    event_log.append_event(session, now, who, f"task {task}", event, f"{who}: {text}", device=name)


def _tell_runs(session: Session, task: str) -> None:
    """A run of the task may invite the device now, or not any more."""
    query = (
        select(AttemptRow.id)
        .join(RunRow, RunRow.id == AttemptRow.run_id)
        .where(RunRow.task == task, AttemptRow.status.in_(ATTEMPT_LIVE))
    )
    notify(session, *(AttemptSignal(number) for number in session.scalars(query)))
