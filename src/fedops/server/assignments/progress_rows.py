"""How far devices are with their assignments, as it goes from memory to the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, bindparam, case, func, or_, update
from sqlalchemy.orm import Session

from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus
from fedops.server.assignments.assignments import Seen
from fedops.server.database.tables import AssignmentRow

A = AssignmentStatus


def note_progress(session: Session, seen: Sequence[Seen]) -> None:
    """How far devices are, of assignments that are open still."""
    if not seen:
        return
    table = AssignmentRow.__table__
    assert isinstance(table, Table)
    statement = (
        update(table)
        .where(table.c.id == bindparam("key"), or_(*(table.c.status == s for s in ASSIGNMENT_OPEN)))
        .values(
            status=case((table.c.status == A.WORKING, A.WORKING), else_=bindparam("state")),
            accepted_at=func.coalesce(table.c.accepted_at, bindparam("accepted")),
            sending_at=bindparam("sends"),
            stage=bindparam("now_at"),
            done=bindparam("so_far"),
            total=bindparam("of_all"),
            stage_text=bindparam("words"),
        )
    )
    session.connection().execute(statement, [_parameters(one) for one in seen])


def _parameters(seen: Seen) -> dict[str, Any]:
    return {
        "key": seen.id,
        "state": seen.status,
        "accepted": seen.accepted_at,
        "sends": seen.sending_at,
        "now_at": seen.stage,
        "so_far": seen.done,
        "of_all": seen.total,
        "words": seen.text,
    }
