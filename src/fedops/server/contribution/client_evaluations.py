"""The evaluations that clients of a committed round are asked for, so that its updates can be scored."""

from __future__ import annotations

import json

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from fedops.core.contracts import Delivery
from fedops.core.errors import Conflict
from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus
from fedops.server.assignments import assignments, open_work
from fedops.server.database import blob_rows
from fedops.server.database.tables import (
    AssignmentRow,
    InstructionRow,
    RoundRow,
    RoundScoresRow,
    RunRow,
)
from fedops.storage.payloads import blobs_of


def require_awaited(session: Session, run: RunRow, number: int) -> None:
    """``Conflict``: no commit planned the scores of this round, or they are there."""
    row = session.get(RoundScoresRow, (run.id, number))
    if row is None or row.scored_at is not None:
        raise Conflict(f"round {number} of run {run.id} has no scores to be made")


def over(session: Session, run: RunRow, number: int) -> list[Delivery]:
    """What became of them, as far as they are over. What the server cancelled may be asked for again."""
    committed = select(RoundRow.committed_at).where(
        RoundRow.run_id == run.id, RoundRow.round == number
    )
    query = (
        select(AssignmentRow)
        .where(*_of(run, number), AssignmentRow.offered_at >= committed.scalar_subquery())
        .order_by(AssignmentRow.offered_at)
    )
    last = {(row.device_id, row.kind): row for row in session.scalars(query)}
    still = {*ASSIGNMENT_OPEN, AssignmentStatus.CANCELLED}
    return assignments.deliveries(
        session, [row for row in last.values() if row.status not in still]
    )


def end(session: Session, run: RunRow, number: int, now: float) -> None:
    """The round is scored: what was delivered is taken, the rest is not wanted, and the models may go."""
    where = _of(run, number)
    assignments.move_assignments(session, AssignmentStatus.CHECKED, where, ended_at=now)
    reason, expired = "its round is scored without it", AssignmentStatus.EXPIRED
    assignments.cancel_assignments(session, where, reason, now, new=expired)
    asked = select(AssignmentRow.instruction).where(*where)
    query = select(InstructionRow.content).where(InstructionRow.id.in_(asked))
    blobs = [blobs_of(json.loads(content)) for content in session.scalars(query)]
    files = {blob.sha256 for named in blobs for blob in named.values()}
    if files:
        blob_rows.give_up_blobs(session, files, now)


def _of(run: RunRow, number: int) -> list[ColumnElement[bool]]:
    return [*assignments.assignments_of_run(run.id, number), open_work.FOR_SCORES]
