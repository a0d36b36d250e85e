"""Runs at a glance: their newest figures, who was slow, and what ended last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.states import RunStatus
from fedops.server.database.tables import (
    DeviceRow,
    ParticipationRow,
    RoundRow,
    RunRow,
)

Within = frozenset[str] | None


def newest_metrics(session: Session, run_id: int, last: int) -> list[Mapping[str, float]]:
    """What the newest committed rounds of a run measured, the oldest of them first."""
    columns = RoundRow.metrics, RoundRow.client_metrics
    where = RoundRow.run_id == run_id, RoundRow.committed_at.is_not(None)
    query = select(*columns).where(*where).order_by(RoundRow.round.desc()).limit(last)
    found: list[Mapping[str, float]] = [
        {**of_clients, **own} for own, of_clients in session.execute(query)
    ]
    return found[::-1]


def slowest_device(session: Session, run_id: int, number: int) -> tuple[str, float] | None:
    """Who took longest in a round, and how long, in seconds. None: nobody replied in it."""
    one = ParticipationRow
    query = (
        select(DeviceRow.name, one.seconds)
        .join(DeviceRow, DeviceRow.id == one.device_id)
        .where(one.run_id == run_id, one.round == number, one.seconds.is_not(None))
        .order_by(one.seconds.desc())
        .limit(1)
    )
    found = session.execute(query).first()
    return None if found is None or found[1] is None else (found[0], found[1])


def ended_runs(session: Session, count: int, within: Within = None) -> Sequence[int]:
    """The ids of the runs that were begun last of those that are over, newest first."""
    query = select(RunRow.id).where(RunRow.ended_at.is_not(None))
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    return session.scalars(query.order_by(RunRow.id.desc()).limit(count)).all()


def last_failure(session: Session, within: Within = None) -> float | None:
    """When a run failed last (POSIX seconds). None: none ever has."""
    query = select(RunRow.ended_at).where(RunRow.status == RunStatus.FAILED)
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    return session.scalars(query.order_by(RunRow.id.desc()).limit(1)).first()
