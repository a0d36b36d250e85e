"""Devices: who is enrolled, what the server wants of each, who is there."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceInfo, DeviceRead
from fedops.core.errors import NotFound
from fedops.core.presence import call_interval, is_online, present_until
from fedops.core.reasons.durations import duration
from fedops.core.reasons.why import WorkFacts, device_why
from fedops.server.assignments import open_work
from fedops.server.database import lookup
from fedops.server.database.lookup import require_device
from fedops.server.database.tables import AssignmentRow, DeviceRow, TaskRow
from fedops.server.devices import availability, membership
from fedops.server.devices.membership import tasks_of_device
from fedops.server.events import event_log
from fedops.server.events.notifications import DeviceGone, notify

# --- what the server wants -------------------------------------------------------------------


# --- reading ---------------------------------------------------------------------------------


def list_devices(session: Session, now: float, task: str | None = None) -> list[DeviceRead]:
    """All devices, or those of a task, by name. ``NotFound`` when there is no such task."""
    if task is not None and session.get(TaskRow, task) is None:
        raise NotFound(lookup.unknown_task(session, task))
    tasks = membership.tasks_by_device(session)
    rows = session.scalars(select(DeviceRow).order_by(DeviceRow.name)).all()
    chosen = rows if task is None else [row for row in rows if task in tasks.get(row.id, [])]
    work = open_work.work_by_device(session)
    return [_read(row, tasks.get(row.id, []), work.get(row.id, []), now) for row in chosen]


def read_device(session: Session, device: str, now: float) -> DeviceRead:
    """One device, by name or id."""
    row = require_device(session, device)
    work = open_work.work_by_device(session, AssignmentRow.device_id == row.id)
    return _read(row, tasks_of_device(session, row.id), work.get(row.id, []), now)


def _read(row: DeviceRow, tasks: list[str], work: Sequence[WorkFacts], now: float) -> DeviceRead:
    found = availability.device_facts(row, tasks, now, work)
    return DeviceRead(
        id=row.id,
        name=row.name,
        enrolment=row.enrolment,
        online=found.online,
        last_seen_at=row.last_heartbeat_at,
        last_seen_seconds=found.last_seen_seconds,
        tasks=tasks,
        process=found.process,
        info=DeviceInfo.model_validate(row.info),
        created_at=row.created_at,
        why=device_why(found),
    )


# --- coming and going ------------------------------------------------------------------------


def any_overdue(session: Session, now: float) -> bool:
    """Whether a device that was there has not called any Server Manager for too long."""
    late = (DeviceRow.present_until.is_(None)) | (DeviceRow.present_until <= now)
    query = select(DeviceRow.id).where(DeviceRow.noted_online, late).limit(1)
    return session.scalars(query).first() is not None


def grant_grace(session: Session, least_interval: float, now: float) -> None:
    """Who called a Server Manager that is gone has an interval's grace to call another one."""
    online = session.scalar(select(func.count()).where(DeviceRow.noted_online)) or 0
    until = present_until(now, call_interval(online, least_interval))
    later = func.greatest(DeviceRow.present_until, until)
    session.execute(update(DeviceRow).where(DeviceRow.noted_online).values(present_until=later))


def mark_offline(session: Session, now: float) -> list[str]:
    """For the sweeper: log each device that went offline, once, and tell who waits for it."""
    gone = []
    for row in session.scalars(select(DeviceRow).where(DeviceRow.noted_online)).all():
        if is_online(row.present_until, now):
            continue
        row.noted_online = False
        seconds = now - (row.last_heartbeat_at or row.created_at)
        why = f"no call for {duration(seconds)}"
        event_log.append_event(
            session, now, event_log.SWEEPER, f"device {row.name}", "device.offline", why
        )
        tell_gone(session, row, f"offline, {why}")
        gone.append(row.name)
    return gone


def tell_gone(session: Session, row: DeviceRow, why: str) -> None:
    """Nothing more will come from this device: whoever waits for it must hear."""
    waiting = tuple(open_work.attempts_waiting_for(session, row.id))
    notify(session, DeviceGone(row.id, row.name, waiting, why))
