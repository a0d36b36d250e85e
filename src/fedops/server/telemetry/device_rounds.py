"""What a device did in its newest rounds."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from fedops.core.states import ParticipationStatus
from fedops.server.database.tables import ParticipationRow, RoundRow, RunRow


@dataclass(frozen=True)
class DeviceRound:
    """A device's part in a round."""

    task: str
    run_id: int
    round: int
    status: ParticipationStatus
    reason: str
    examples: int | None
    seconds: float | None
    bytes_up: int | None
    #: When the round began, and was committed (POSIX seconds).
    started_at: float
    committed_at: float | None


def newest_rounds(
    session: Session, device_id: str, limit: int, within: frozenset[str] | None = None
) -> list[DeviceRound]:
    """The newest rounds that a device was chosen for, newest first. ``within``: of these tasks."""
    P = ParticipationRow
    query = (
        select(
            RunRow.task,
            P.run_id,
            P.round,
            P.status,
            P.reason,
            P.examples,
            P.seconds,
            P.bytes_up,
            RoundRow.started_at,
            RoundRow.committed_at,
        )
        .join(RunRow, RunRow.id == P.run_id)
        .join(RoundRow, and_(RoundRow.run_id == P.run_id, RoundRow.round == P.round))
        .where(P.device_id == device_id)
        .order_by(P.run_id.desc(), P.round.desc(), P.attempt.desc())
        .limit(limit)
    )
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    return [
        DeviceRound(
            one.task,
            one.run_id,
            one.round,
            one.status,
            one.reason or "",
            one.examples,
            one.seconds,
            one.bytes_up,
            one.started_at,
            one.committed_at,
        )
        for one in session.execute(query)
    ]
