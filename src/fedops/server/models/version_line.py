"""How the versions of a task did, one after the other: only the numbers, so that many of them are quick."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.server.database.tables import ModelVersionRow


@dataclass(frozen=True)
class VersionPoint:
    """A version that a run has made."""

    version: int
    #: POSIX seconds.
    created_at: float
    metrics: dict[str, float]
    quarantined: bool


def version_line(session: Session, task: str, newest: int) -> list[VersionPoint]:
    """So many of a task's newest versions, oldest first, without V0, which nothing has trained."""
    row = ModelVersionRow
    query = (
        select(row.version, row.created_at, row.metrics, row.quarantined_at)
        .where(row.task == task, row.version > 0)
        .order_by(row.version.desc())
        .limit(newest)
    )
    found = [
        VersionPoint(number, at, metrics, quarantined_at is not None)
        for number, at, metrics, quarantined_at in session.execute(query)
    ]
    return found[::-1]
