"""Firings as rows: added, moved from state to state, and pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fedops.core.states import FIRING_OPEN, FIRING_TRANSITIONS, FiringStatus
from fedops.server.database.compare_and_set import transition
from fedops.server.database.tables import FiringRow, RunRow, ScheduleRow
from fedops.server.events import event_log

#: So many of a schedule are kept.
KEPT = 500
F = FiringStatus


def named(schedule: str) -> str:
    """Who does what a schedule does, in the event log and where aliases were moved."""
    return f"schedule {schedule}"


def add_firing(
    session: Session, row: ScheduleRow, why: str, now: float, who: str | None = None
) -> FiringRow:
    """A firing that waits for its run."""
    firing = FiringRow(
        task=row.task, schedule=row.name, at=now, why=why, status=F.WAITING, outcome="", more=0
    )
    session.add(firing)
    session.flush()
    log(session, firing, "schedule.fired", why, now, who)
    _prune(session, row)
    return firing


def end_firing(
    session: Session,
    firing: FiringRow,
    new: FiringStatus,
    why: str,
    now: float,
    who: str | None = None,
    **values: Any,
) -> bool:
    """A firing comes to its end. False: it had come to it before."""
    moved = transition(
        session,
        firing,
        "status",
        FIRING_TRANSITIONS,
        new,
        outcome=why,
        ended_at=now,
        **values,
    )
    if moved is None:
        return False
    log(session, firing, f"schedule.{new.value}", why, now, who)
    return True


def log(
    session: Session, firing: FiringRow, event: str, text: str, now: float, who: str | None = None
) -> None:
    subject, data = f"task {firing.task}", {"schedule": firing.schedule, "firing": firing.id}
    said, by = f"schedule '{firing.schedule}': {text}", who or named(firing.schedule)
    event_log.append_event(session, now, by, subject, event, said, firing.run_id, **data)


def waiting_firing(session: Session, task: str, schedule: str) -> FiringRow | None:
    """The firing of a schedule that has no run yet."""
    query = select(FiringRow).where(FiringRow.task == task, FiringRow.schedule == schedule)
    return session.scalars(query.where(FiringRow.status == F.WAITING)).one_or_none()


def last_firing(session: Session, task: str, schedule: str) -> FiringRow | None:
    query = select(FiringRow).where(FiringRow.task == task, FiringRow.schedule == schedule)
    return session.scalars(query.order_by(FiringRow.id.desc()).limit(1)).one_or_none()


def newest_firings(session: Session, task: str, schedule: str, limit: int) -> Sequence[FiringRow]:
    query = select(FiringRow).where(FiringRow.task == task, FiringRow.schedule == schedule)
    return session.scalars(query.order_by(FiringRow.id.desc()).limit(limit)).all()


def tasks_that_wait(session: Session) -> list[str]:
    """The tasks that have a firing without a run."""
    query = select(FiringRow.task).where(FiringRow.status == F.WAITING)
    return sorted(set(session.scalars(query)))


def firings_to_settle(session: Session) -> list[int]:
    """Firings whose run is over, the oldest first."""
    query = (
        select(FiringRow.id)
        .join(RunRow, RunRow.id == FiringRow.run_id)
        .where(FiringRow.status == F.RUNNING, RunRow.ended_at.is_not(None))
        .order_by(FiringRow.id)
    )
    return list(session.scalars(query))


def _prune(session: Session, row: ScheduleRow) -> None:
    """The oldest go, once there are many."""
    mine = (FiringRow.task == row.task, FiringRow.schedule == row.name)
    query = select(FiringRow.id).where(*mine).order_by(FiringRow.id.desc()).offset(KEPT).limit(1)
    oldest = session.scalar(query)
    if oldest is not None:
        over = FiringRow.status.not_in(FIRING_OPEN)
        session.execute(delete(FiringRow).where(*mine, FiringRow.id <= oldest, over))
