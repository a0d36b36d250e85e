"""The newest rounds of a run, a line each: how the model did, who replied, and why others did not."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedops.server.database.tables import DeviceRow, ParticipationRow, RoundRow
from fedops.server.pictures.cells import Cell
from fedops.server.pictures.grids import Grid

#: So many reasons are read, those of the newest rounds first.
_MOST_REASONS = 500


@dataclass(frozen=True)
class RoundLine:
    """One round."""

    round: int
    committed_at: float | None
    seconds: float | None
    #: Parts of the round by name (seconds), as its engine measured them.
    timing: dict[str, float]
    metrics: dict[str, float]
    replied: int
    asked: int
    #: Devices with what is to be said of them, by name.
    notes: list[tuple[str, str]]


def rounds_so_far(session: Session, run_id: int) -> tuple[object, ...]:
    """Another one whenever a round of the run was begun, done again or committed: cheap to tell."""
    R = RoundRow
    figures = func.count(), func.max(R.round), func.sum(R.attempt), func.max(R.committed_at)
    return tuple(session.execute(select(*figures).where(R.run_id == run_id)).one())


def newest_rounds(session: Session, run_id: int, grid: Grid, limit: int) -> list[RoundLine]:
    """The newest rounds of a run, newest first."""
    query = select(RoundRow).where(RoundRow.run_id == run_id).order_by(RoundRow.round.desc())
    rows = session.scalars(query.limit(limit)).all()
    notes = _notes(session, run_id, {row.round: row.attempt for row in rows})
    return [_line(row, grid.columns.get(row.round, b""), notes[row.round]) for row in rows]


def _line(row: RoundRow, cells: bytes, notes: list[tuple[str, str]]) -> RoundLine:
    return RoundLine(
        row.round,
        row.committed_at,
        row.seconds,
        row.timing,
        {**row.client_metrics, **row.metrics},
        cells.count(Cell.REPLIED),
        len(cells) - cells.count(Cell.NOT_ASKED),
        notes,
    )


def _notes(
    session: Session, run_id: int, attempts: dict[int, int]
) -> dict[int, list[tuple[str, str]]]:
    P = ParticipationRow
    query = (
        select(P.round, P.attempt, DeviceRow.name, P.reason)
        .join(DeviceRow, DeviceRow.id == P.device_id)
        .where(P.run_id == run_id, P.round.in_(attempts), P.reason.is_not(None))
        .order_by(P.round.desc(), DeviceRow.name)
        .limit(_MOST_REASONS)
    )
    found: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for number, attempt, name, reason in session.execute(query):
        if attempt == attempts[number]:
            found[number].append((name, reason or ""))
    return found
