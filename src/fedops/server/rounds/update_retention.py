"""How long the results that devices delivered are kept, and the rows about them.

A result is kept until the two rounds after its own are committed; of a run's last rounds, until the task's
next run has committed its first. Nothing is kept longer than a month after it came.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from fedops.core.states import RUN_TERMINAL, AssignmentStatus
from fedops.server.database import blob_rows
from fedops.server.database.tables import AssignmentRow, InstructionRow, RunRow, SelectionRow
from fedops.settings import ServerSettings

#: A result outlives its own round by so many.
ROUNDS_AFTER = 2
#: The longest that a result is kept, and how long a row after its run. Seconds.
LONGEST_SECONDS = 30 * 86_400.0
#: At most so many at a time.
CHUNK = 500
A = AssignmentStatus
_NOT_USED = (A.REJECTED, A.EXPIRED, A.CANCELLED, A.REFUSED, A.FAILED)


def give_up_updates(session: Session, settings: ServerSettings, now: float) -> bool:
    """Give up results that are not needed any more, and rows that are too old. Whether there is more."""
    rows = _results(session, settings, now)
    _prune(session, rows, now)
    gone = _forget_rows(session, now)
    return len(rows) == CHUNK or gone == CHUNK


def _results(
    session: Session, settings: ServerSettings, now: float
) -> list[tuple[str, str | None]]:
    query = (
        select(AssignmentRow.id, AssignmentRow.blob)
        .outerjoin(RunRow, RunRow.id == AssignmentRow.run_id)
        .where(AssignmentRow.delivered_at.is_not(None), AssignmentRow.pruned_at.is_(None))
        .where(or_(*_given_up(settings, now)))
        .limit(CHUNK)
    )
    return [(id_, blob) for id_, blob in session.execute(query)]


def _given_up(settings: ServerSettings, now: float) -> list[ColumnElement[bool]]:
    status = AssignmentRow.status
    later = aliased(RunRow)
    followed = exists().where(
        later.task == RunRow.task,
        later.id > RunRow.id,
        later.committed_rounds >= later.first_round,
    )
    over = RunRow.status.in_(RUN_TERMINAL)
    found = [
        AssignmentRow.delivered_at < now - LONGEST_SECONDS,
        status.in_(_NOT_USED),
        over & followed,
        over & AssignmentRow.round.is_(None),
    ]
    if settings.retention_updates == "rounds":
        found.append(AssignmentRow.round <= RunRow.committed_rounds - ROUNDS_AFTER)
    return found


def _prune(session: Session, rows: Sequence[tuple[str, str | None]], now: float) -> None:
    if not rows:
        return
    where = AssignmentRow.id.in_([id_ for id_, _ in rows])
    values = {"pruned_at": now, "inline": None}
    session.execute(update(AssignmentRow).where(where).values(values), execution_options=_AS_IT_IS)
    blob_rows.give_up_blobs(session, {blob for _, blob in rows if blob is not None}, now)


_AS_IT_IS = {"synchronize_session": False}


def _forget_rows(session: Session, now: float) -> int:
    """Rows go a month after their run; those of no run a month after they were made."""
    before = now - LONGEST_SECONDS
    of_run = select(RunRow.id).where(RunRow.ended_at < before)
    old = or_(
        AssignmentRow.run_id.in_(of_run),
        AssignmentRow.run_id.is_(None) & (AssignmentRow.deadline_at < before),
    )
    pruned = or_(AssignmentRow.delivered_at.is_(None), AssignmentRow.pruned_at.is_not(None))
    query = select(AssignmentRow.id).where(old, pruned).limit(CHUNK)
    session.execute(
        delete(SelectionRow).where(SelectionRow.run_id.in_(of_run)), execution_options=_AS_IT_IS
    )
    ids = list(session.scalars(query))
    if ids:
        where = AssignmentRow.id.in_(ids)
        session.execute(delete(AssignmentRow).where(where), execution_options=_AS_IT_IS)
        unused = ~exists().where(AssignmentRow.instruction == InstructionRow.id)
        session.execute(
            delete(InstructionRow).where(InstructionRow.created_at < before, unused),
            execution_options=_AS_IT_IS,
        )
    return len(ids)
