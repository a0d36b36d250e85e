"""Events as people look for them: by who, what, of which task, when; so many at a time, the newest first."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from fedops.core.contracts import EventRead
from fedops.server.database.tables import EventRow
from fedops.server.events import event_log

#: What no index finds is looked for in so many events at a time.
LOOKED_THROUGH = 20_000


@dataclass(frozen=True)
class Sought:
    """Which events. What is "" or None does not matter."""

    #: Who did it: a program, a device, or a user.
    by: str = ""
    #: What these begin with.
    subject: str = ""
    name: str = ""
    #: What stands in what is shown of it, in small or large letters.
    text: str = ""
    task: str = ""
    #: Not before, and before this (POSIX seconds).
    since: float | None = None
    until: float | None = None

    @property
    def everything(self) -> bool:
        return self == Sought()


@dataclass(frozen=True)
class Found:
    """A page of events, the newest first."""

    events: list[EventRead]
    #: Older ones are before this id. None: there are none.
    older: int | None


def search(
    session: Session,
    sought: Sought,
    *,
    before: int | None = None,
    within: frozenset[str] | None = None,
    audits: bool = True,
    limit: int = 100,
) -> Found:
    """At most ``limit`` events before ``before``. ``within`` and ``audits``: as in ``event_log``."""
    low, high = _range(session, sought, before)
    floor = low if sought.everything and within is None else max(low, high - LOOKED_THROUGH)
    query = (
        select(EventRow)
        .where(EventRow.id >= floor, EventRow.id < high, *_wanted(sought))
        .order_by(EventRow.id.desc())
        .limit(limit)
    )
    found = event_log.told(session, query, within, audits)
    last = found[-1].id if len(found) == limit else floor
    return Found(found, last if last > low else None)


def _range(session: Session, sought: Sought, before: int | None) -> tuple[int, int]:
    """From which id on, and before which one. Ids are given in the order of time."""
    ends_of = select(func.min(EventRow.id), func.max(EventRow.id))
    first, newest = (id_ or 0 for id_ in session.execute(ends_of).one())
    if not newest:
        return 1, 1
    ends = [newest + 1] if before is None else [before, newest + 1]
    if sought.until is not None:
        ends.append(_first_since(session, sought.until, first, newest))
    begin = first
    if sought.since is not None:
        begin = _first_since(session, sought.since, first, newest)
    return begin, max(min(ends), begin)


def _first_since(session: Session, at: float, low: int, high: int) -> int:
    """The first id of which the event is not before a moment: found by halving, no index has the times."""
    while low <= high:
        middle = (low + high) // 2
        query = select(EventRow.id, EventRow.at).where(EventRow.id >= middle).order_by(EventRow.id)
        found = session.execute(query.limit(1)).first()
        if found is None or found.at >= at:
            high = middle - 1
        else:
            low = found.id + 1
    return low


def _wanted(sought: Sought) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if sought.by:
        where.append(or_(EventRow.who == sought.by, EventRow.by_user == sought.by))
    if sought.subject:
        where.append(EventRow.subject.startswith(sought.subject, autoescape=True))
    if sought.name:
        where.append(EventRow.name.startswith(sought.name, autoescape=True))
    if sought.text:
        said = (EventRow.subject, EventRow.name, EventRow.text)
        where.append(or_(*(one.icontains(sought.text, autoescape=True) for one in said)))
    if sought.task:
        where.append(or_(*event_log.of_tasks(frozenset({sought.task}))))
    if sought.since is not None:
        where.append(EventRow.at >= sought.since)
    if sought.until is not None:
        where.append(EventRow.at < sought.until)
    return [and_(*where)] if where else []
