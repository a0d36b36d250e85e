"""When devices were online: from when to when, for as long as is looked back. What is older is forgotten."""

from __future__ import annotations

from bisect import bisect_right

from sqlalchemy import ColumnElement, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from fedops.server.database.tables import DeviceRow, MembershipRow, PresenceRow

_DAY = 86_400.0
#: So far a page looks back, in days; and for so long it is kept.
SHOWN_DAYS, KEPT_DAYS = 30, 31
#: Into so many points a time is divided at most.
_POINTS = 97


def note_online(session: Session, device_id: str, now: float) -> None:
    """A device is online from now on."""
    note_offline(session, device_id, now)  # of a life of the server that did not notice
    session.merge(PresenceRow(device_id=device_id, since=now, until=None))


def note_offline(session: Session, device_id: str, heard_at: float) -> None:
    """A device is not online any more: it was heard last at ``heard_at``. Repeating is harmless."""
    mine = (PresenceRow.device_id == device_id, PresenceRow.until.is_(None))
    until = case((PresenceRow.since > heard_at, PresenceRow.since), else_=heard_at)
    statement = update(PresenceRow).where(*mine).values(until=until)
    session.execute(statement.execution_options(synchronize_session=False))


def forget(session: Session, now: float) -> None:
    """Remove what nobody looks back at any more."""
    before = now - KEPT_DAYS * _DAY
    statement = delete(PresenceRow).where(PresenceRow.until < before)
    session.execute(statement.execution_options(synchronize_session=False))


def presence_of(
    session: Session, device_id: str, since: float, now: float
) -> list[tuple[float, float]]:
    """When a device was online between two moments: (from, to), oldest first."""
    query = (
        select(PresenceRow.since, PresenceRow.until)
        .where(PresenceRow.device_id == device_id, _within(since))
        .order_by(PresenceRow.since)
    )
    spans = ((max(one.since, since), _end(one.until, now)) for one in session.execute(query))
    return [(begin, end) for begin, end in spans if end >= begin]


def online_over_time(
    session: Session, hours: float, now: float, within: frozenset[str] | None = None
) -> list[tuple[float, int]]:
    """How many devices were online at moments of the last hours: (POSIX seconds, devices), oldest first.

    ``within``: devices of these tasks alone.
    """
    begin = now - hours * 3_600.0
    query = select(PresenceRow.since, PresenceRow.until).where(_within(begin))
    if within is not None:
        members = select(MembershipRow.device_id).where(MembershipRow.task.in_(within))
        query = query.where(PresenceRow.device_id.in_(members))
    spans = session.execute(query).all()
    came = sorted(span.since for span in spans)
    # Who is online now is so at the last moment, too.
    went = sorted(span.until for span in spans if span.until is not None)
    step = (now - begin) / (_POINTS - 1)
    moments = [begin + step * index for index in range(_POINTS - 1)] + [now]
    return [(at, bisect_right(came, at) - bisect_right(went, at)) for at in moments]


def first_known(session: Session, device_id: str) -> float | None:
    """Since when it is on record whether a device is online: before that, nobody knows."""
    query = select(func.min(PresenceRow.since)).where(PresenceRow.device_id == device_id)
    known = session.scalar(query)
    row = session.get_one(DeviceRow, device_id)
    return row.created_at if known is None else float(known)


def _within(since: float) -> ColumnElement[bool]:
    return or_(PresenceRow.until.is_(None), PresenceRow.until >= since)


def _end(until: float | None, now: float) -> float:
    return now if until is None else min(until, now)
