"""Runs at a glance: their newest figures, what ended last, and how much was sent today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from fedops.core.states import RunStatus
from fedops.server.database.tables import (
    ArtifactRow,
    RoundPictureRow,
    RoundRow,
    RunRow,
)

_DAY = 86_400.0
Within = frozenset[str] | None


@dataclass(frozen=True)
class Traffic:
    """Bytes that crossed the network for committed rounds."""

    #: Updates that devices sent.
    up: int
    #: Models that their rounds were begun from, once for each device that replied, whole.
    down: int


def newest_metrics(session: Session, run_id: int, last: int) -> list[Mapping[str, float]]:
    """What the newest committed rounds of a run measured, the oldest of them first."""
    columns = RoundRow.metrics, RoundRow.client_metrics
    where = RoundRow.run_id == run_id, RoundRow.committed_at.is_not(None)
    query = select(*columns).where(*where).order_by(RoundRow.round.desc()).limit(last)
    found: list[Mapping[str, float]] = [
        {**of_clients, **own} for own, of_clients in session.execute(query)
    ]
    return found[::-1]


def ended_runs(session: Session, count: int, within: Within = None) -> Sequence[int]:
    """The ids of the runs that were begun last of those that are over, newest first."""
    query = select(RunRow.id).where(RunRow.ended_at.is_not(None))
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    return session.scalars(query.order_by(RunRow.id.desc()).limit(count)).all()


def last_failure(session: Session, within: Within = None) -> float | None:
    """When the newest run that failed did so (POSIX seconds). None: none ever has."""
    query = select(RunRow.ended_at).where(RunRow.status == RunStatus.FAILED)
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    return session.scalars(query.order_by(RunRow.id.desc()).limit(1)).first()


def midnight(now: float) -> float:
    """When the day (UTC) began that ``now`` is in."""
    return now - now % _DAY


def traffic_since(session: Session, since: float, within: Within = None) -> Traffic:
    """What the rounds that were committed since then have sent."""
    picture, size = RoundPictureRow, func.coalesce(ArtifactRow.size, 0)
    lately = select(RunRow.id).where(or_(RunRow.ended_at.is_(None), RunRow.ended_at >= since))
    if within is not None:
        lately = lately.where(RunRow.task.in_(within))
    query = (
        select(func.sum(picture.bytes_up), func.sum(picture.replied * size))
        .select_from(RoundRow)
        .join(picture, (picture.run_id == RoundRow.run_id) & (picture.round == RoundRow.round))
        .outerjoin(ArtifactRow, ArtifactRow.sha256 == RoundRow.begun_from)
        .where(RoundRow.run_id.in_(lately), RoundRow.committed_at >= since)
    )
    up, down = session.execute(query).one()
    return Traffic(int(up or 0), int(down or 0))
