"""The event log: appended to by every transition, read in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, String, cast, literal, not_, or_, select
from sqlalchemy.orm import Session

from fedops.core.contracts import EventRead
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import EventRow, RunRow, StudyRow
from fedops.server.events.acting import acting_person

#: Who did something, when it was no device and no engine. An operator is named, where one is known.
OPERATOR, SCHEDULER, SERVER = "operator", "scheduler", "server"
SOMEBODY = "somebody"
MAINTENANCE = "maintenance"
#: An answer holds at most this many.
PAGE = 1_000


@dataclass(frozen=True)
class Change:
    """Who changes something, why, and when (POSIX seconds)."""

    who: str
    why: str
    at: float


def append_event(
    session: Session,
    now: float,
    who: str,
    subject: str,
    name: str,
    text: str = "",
    run_id: int | None = None,
    **data: Any,
) -> None:
    """Log that something happened, and in whose call, if it was a person's."""
    row = EventRow(
        at=now, who=named(who), subject=subject, name=name, text=text, data=data, run_id=run_id
    )
    person = acting_person()
    if person is not None:
        row.by_user, row.by_token, row.by_address = person.user, person.token_id, person.address
    session.add(row)


def named(who: str) -> str:
    """Which operator it is, if that is known."""
    person = acting_person() if who == OPERATOR else None
    return who if person is None or person.user is None else f"user {person.user}"


def append_transition(
    session: Session,
    change: Change,
    subject: str,
    states: tuple[StrEnum, StrEnum],
    run_id: int | None = None,
) -> None:
    """Log a change of state: who made it, from where, to where, why."""
    who, why, now = change.who, change.why, change.at
    before, after = (state.value for state in states)
    machine = subject.split(" ")[0]
    append_event(
        session, now, who, subject, f"{machine}.{after}", why, run_id, before=before, after=after
    )


def list_events(
    session: Session,
    *,
    after: int = 0,
    run_id: int | None = None,
    within: frozenset[str] | None = None,
    audits: bool = True,
) -> list[EventRead]:
    """The events beyond ``after``, oldest first, at most a page.

    ``within``: what is of these tasks. ``audits``: with what users and their browsers do, and from where.
    """
    query = select(EventRow).where(EventRow.id > after).order_by(EventRow.id).limit(PAGE)
    if run_id is not None:
        query = query.where(EventRow.run_id == run_id)
    return told(session, query, within, audits)


def told(
    session: Session, query: Select[EventRow], within: frozenset[str] | None, audits: bool
) -> list[EventRead]:
    """What somebody is told of these events."""
    if within is not None:
        query = query.where(or_(*of_tasks(within)))
    if not audits:
        query = query.where(not_(EventRow.name.startswith("user.")))
    found = [read_as(EventRead, row) for row in session.scalars(query)]
    return found if audits else _not_from_where(found)


def _not_from_where(found: Iterable[EventRead]) -> list[EventRead]:
    return [event.model_copy(update=_ONLY_FOR_AUDITS) for event in found]


def newest_about(session: Session, subject: str, limit: int) -> list[EventRead]:
    """The newest events of a subject, such as ``device pi``, newest first; not from where they were made."""
    query = select(EventRow).where(EventRow.subject == subject)
    found = session.scalars(query.order_by(EventRow.id.desc()).limit(limit))
    return _not_from_where(read_as(EventRead, row) for row in found)


def newest_of_run(
    session: Session, run_id: int, limit: int, before: int | None = None
) -> list[EventRead]:
    """The newest events of a run, or those before one, newest first; not from where made."""
    query = select(EventRow).where(EventRow.run_id == run_id)
    if before is not None:
        query = query.where(EventRow.id < before)
    found = session.scalars(query.order_by(EventRow.id.desc()).limit(limit))
    return _not_from_where(read_as(EventRead, row) for row in found)


_ONLY_FOR_AUDITS = {"by_token": None, "by_address": None}


def of_tasks(tasks: frozenset[str]) -> Iterator[ColumnElement[bool]]:
    """What makes an event one of these tasks."""
    yield EventRow.run_id.in_(select(RunRow.id).where(RunRow.task.in_(tasks)))
    yield EventRow.subject.in_([f"task {task}" for task in tasks])
    studies = select(literal("study ") + cast(StudyRow.id, String))
    yield EventRow.subject.in_(studies.where(StudyRow.task.in_(tasks)))
    for task in tasks:
        yield EventRow.subject.startswith(f"alias {task} ", autoescape=True)
