"""Which events came after one: what pages ask several times a second, and so as little as they need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from fedops.server.database.tables import EventRow
from fedops.server.events.event_log import of_tasks


@dataclass(frozen=True)
class EventNews:
    """That something happened."""

    id: int
    name: str
    subject: str
    run_id: int | None


def newest_event(session: Session) -> int:
    """The id of the newest event; 0 when there is none."""
    return session.scalar(select(func.max(EventRow.id))) or 0


def events_after(session: Session, after: int, limit: int) -> list[EventNews]:
    """What happened after an event, oldest first, at most ``limit``."""
    columns = (EventRow.id, EventRow.name, EventRow.subject, EventRow.run_id)
    query = select(*columns).where(EventRow.id > after).order_by(EventRow.id).limit(limit)
    return [EventNews(*row) for row in session.execute(query)]


def events_that_tell(
    session: Session, ids: Iterable[int], tasks: frozenset[str] | None
) -> frozenset[int]:
    """Which of these events are of these tasks. ``tasks`` None: all are."""
    known = frozenset(ids)
    if tasks is None or not known:
        return known
    query = select(EventRow.id).where(EventRow.id.in_(known), or_(*of_tasks(tasks)))
    return frozenset(session.scalars(query))
