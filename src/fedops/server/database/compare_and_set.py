"""Changes of state: checked against the state machine, made by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import inspect, update
from sqlalchemy.orm import Session

from fedops.core.errors import Conflict
from fedops.core.states import S, advance
from fedops.server.database.tables import Base

R = TypeVar("R", bound=Base)


def compare_and_set(session: Session, row: R, column: str, new: Any, **values: Any) -> bool:
    """Set ``column`` to ``new`` (and ``values``) if it still is what ``row`` says. Whether it was."""
    session.flush()
    kind = type(row)
    same = [c == getattr(row, str(c.key)) for c in inspect(kind).primary_key]
    same.append(getattr(kind, column) == getattr(row, column))
    statement = update(kind).where(*same).values({column: new, **values})
    result = session.execute(statement.execution_options(synchronize_session=False))
    session.refresh(row)
    return bool(result.rowcount)  # type: ignore[attr-defined]


def transition(
    session: Session,
    row: R,
    column: str,
    table: Mapping[S, frozenset[S]],
    new: S,
    **values: Any,
) -> S | None:
    """Take ``row`` from its state to ``new``; returns the state before, None when it was there.

    Raises:
        InvalidTransition: the table has no such edge.
        Conflict: somebody else changed it at the same moment.
    """
    current: S = getattr(row, column)
    if advance(table, current, new) == current:
        return None
    if not compare_and_set(session, row, column, new, **values):
        raise Conflict(
            f"it changed from '{current}' to '{getattr(row, column)}' at the same moment; look again"
        )
    return current
