"""What a device has in hand, as its page shows it: of which round, at what, since when, how far."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import Stage
from fedops.core.reasons.work import WorkFacts, working
from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus
from fedops.server.database.tables import AssignmentRow


@dataclass(frozen=True)
class WorkInHand:
    """An open assignment. Times are POSIX seconds."""

    task: str
    kind: str
    run_id: int | None
    round: int | None
    stage: Stage
    #: What it does for it: ``uploading 62 % of 45 MB``.
    words: str
    #: How far it is with that, of how much (bytes or epochs); 0 of 0 where that is not known.
    done: int
    total: int
    offered_at: float
    accepted_at: float | None
    deadline_at: float


def work_in_hand(
    session: Session, device_id: str, within: frozenset[str] | None = None
) -> list[WorkInHand]:
    """The open assignments of a device, oldest first. ``within``: of these tasks alone."""
    row = AssignmentRow
    query = (
        select(row)
        .where(row.device_id == device_id, row.status.in_(ASSIGNMENT_OPEN))
        .order_by(row.offered_at, row.id)
    )
    if within is not None:
        query = query.where(row.task.in_(within))
    found = [(one, _facts(one)) for one in session.scalars(query)]
    facts = [fact for _, fact in found]
    return [_read(one, working(fact, facts)) for one, fact in found]


def _facts(row: AssignmentRow) -> WorkFacts:
    accepted = row.status is not AssignmentStatus.OFFERED
    about = row.kind, row.task, row.run_id, row.round
    return WorkFacts(*about, accepted, Stage(row.stage), row.done, row.total, row.stage_text)


def _read(row: AssignmentRow, words: str) -> WorkInHand:
    return WorkInHand(
        row.task,
        row.kind,
        row.run_id,
        row.round,
        Stage(row.stage),
        words,
        row.done,
        row.total,
        row.offered_at,
        row.accepted_at,
        row.deadline_at,
    )
