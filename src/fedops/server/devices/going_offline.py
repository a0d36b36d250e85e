"""When devices stop calling: noticed once, told to who waits, forgiven after a change of the leader."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from fedops.core.presence import call_interval, is_online, present_until
from fedops.core.reasons.durations import duration
from fedops.server.assignments import open_work
from fedops.server.database.tables import DeviceRow
from fedops.server.devices import presence_history
from fedops.server.events import event_log
from fedops.server.events.notifications import DeviceGone, notify


def is_any_overdue(session: Session, now: float) -> bool:
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
    """For maintenance: log each device that went offline, once, and tell who waits for it."""
    gone = []
    for row in session.scalars(select(DeviceRow).where(DeviceRow.noted_online)).all():
        if is_online(row.present_until, now):
            continue
        row.noted_online = False
        seconds = now - (row.last_heartbeat_at or row.created_at)
        presence_history.note_offline(session, row.id, now - seconds)
        why = f"no call for {duration(seconds)}"
        event_log.append_event(
            session, now, event_log.MAINTENANCE, f"device {row.name}", "device.offline", why
        )
        tell_gone(session, row, f"offline, {why}")
        gone.append(row.name)
    return gone


def tell_gone(session: Session, row: DeviceRow, why: str) -> None:
    """Nothing more will come from this device: whoever waits for it must hear."""
    waiting = tuple(open_work.attempts_waiting_for(session, row.id))
    notify(session, DeviceGone(row.id, row.name, waiting, why))
