"""The event log: appended to by every transition, read in order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import EventRead
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import EventRow

#: Who did something, when it was no device and no engine.
OPERATOR, SCHEDULER, SERVER = "operator", "scheduler", "server"
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
    """Log that something happened."""
    session.add(
        EventRow(at=now, who=who, subject=subject, name=name, text=text, data=data, run_id=run_id)
    )


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


def list_events(session: Session, *, after: int = 0, run_id: int | None = None) -> list[EventRead]:
    """The events beyond ``after``, oldest first, at most a page."""
    query = select(EventRow).where(EventRow.id > after).order_by(EventRow.id).limit(PAGE)
    if run_id is not None:
        query = query.where(EventRow.run_id == run_id)
    return [_read(row) for row in session.scalars(query)]


def _read(row: EventRow) -> EventRead:
    return read_as(EventRead, row)
