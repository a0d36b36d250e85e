"""Scores, histories and selections know a device by its name: they follow it to another one.

Otherwise whoever is given the name next would be taken for who had it before.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text, cast, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from fedops.server.database.tables import RoundScoresRow, SelectionRow

_Listed = list[dict[str, Any]]


def rename_in_scores(session: Session, former: str, name: str) -> None:
    """Everything that is kept of ``former`` is of ``name`` from now on."""
    scored = RoundScoresRow
    where = [_names(one, former) for one in (scored.scores, scored.standings, scored.history)]
    for row in session.scalars(select(scored).where(or_(*where))):
        row.scores = _in_list(row.scores, former, name)
        row.standings = _in_list(row.standings, former, name)
        row.history = _in_history(row.history, former, name)
    chosen = select(SelectionRow).where(_names(SelectionRow.decisions, former))
    for selection in session.scalars(chosen):
        selection.decisions = _in_list(selection.decisions, former, name)


def _names(column: InstrumentedAttribute[Any], name: str) -> Any:
    """Whether the JSON of the column may name it."""
    return cast(column, Text).contains(f'"{name}"', autoescape=True)


def _in_list(found: _Listed, former: str, name: str) -> _Listed:
    return [{**one, "device": name} if one["device"] == former else one for one in found]


def _in_history(history: dict[str, Any] | None, former: str, name: str) -> dict[str, Any] | None:
    if not history:
        return history
    clients = history.get("clients") or {}
    return {
        **history,
        "clients": {**clients, "clients": _in_keys(clients.get("clients", {}), former, name)},
        "relative": _in_keys(history.get("relative", {}), former, name),
    }


def _in_keys(found: dict[str, Any], former: str, name: str) -> dict[str, Any]:
    return {name if key == former else key: value for key, value in found.items()}
