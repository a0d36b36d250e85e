"""What devices say of the models that they serve."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import ServingReport
from fedops.core.states import ServingStatus
from fedops.server.database.tables import DeviceRow, ServingRow
from fedops.server.devices.membership import tasks_of_device
from fedops.server.events import event_log
from fedops.server.events.notifications import DeviceChanged, notify


def note_serving_reports(
    session: Session, device_id: str, reports: Sequence[ServingReport], now: float
) -> None:
    """Keep what a device that was let in says: of the tasks it takes part in, and of nothing else.

    A task that it does not speak of any more is none that it serves.
    """
    query = select(ServingRow).where(ServingRow.device_id == device_id)
    rows = {row.task: row for row in session.scalars(query)}
    mine = set(tasks_of_device(session, device_id)) if reports else set()
    told = {report.task: report for report in reports if report.task in mine}
    before = {task: row.alias for task, row in rows.items()}
    if before != {task: report.alias for task, report in told.items()}:
        notify(session, DeviceChanged(device_id))
    for task in rows.keys() - told.keys():
        session.delete(rows[task])
    for task, report in sorted(told.items()):
        row = rows.get(task) or _begin(session, device_id, report, now)
        _log(session, row, report, now)
        _keep(row, report, now)
    session.flush()


def _begin(session: Session, device_id: str, report: ServingReport, now: float) -> ServingRow:
    row = ServingRow(
        task=report.task,
        device_id=device_id,
        alias=report.alias,
        status=ServingStatus.WAITING,
        status_since=now,
        reason="",
        reported_at=now,
    )
    session.add(row)
    return row


def _keep(row: ServingRow, report: ServingReport, now: float) -> None:
    said = (report.alias, report.wanted, report.active, report.status, report.reason)
    if (row.alias, row.wanted, row.active, row.status, row.reason) != said:
        row.status_since = now - report.seconds
    row.alias, row.wanted, row.active, row.status, row.reason = said
    row.stalled, row.reported_at = report.stalled, now


def _log(session: Session, row: ServingRow, report: ServingReport, now: float) -> None:
    """Say once which version a device serves, and once why it does not."""
    name, text = "", ""
    if report.active is not None and report.active != row.active:
        name, text = "device.serves", f"V{report.active} of task {report.task}"
    elif report.status is ServingStatus.FAILED and report.reason != row.reason:
        name, text = "device.serves_not", f"V{report.wanted} of task {report.task}: {report.reason}"
    if name:
        subject = f"device {session.get_one(DeviceRow, row.device_id).name}"
        event_log.append_event(session, now, subject, subject, name, text, task=report.task)
