"""All that is known of one device in one round of a run."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.states import ParticipationStatus
from fedops.server.database.tables import DeviceRow, ParticipationRow, RoundRow
from fedops.server.pictures import round_pictures
from fedops.server.pictures.round_pictures import Work

#: So many of its metrics are shown.
_METRICS = 30


@dataclass(frozen=True)
class CellDetails:
    """A device's part in a round."""

    status: ParticipationStatus
    #: Why it was chosen, and what is to be said of what became of it.
    selection: str
    reason: str
    examples: int | None
    seconds: float | None
    bytes_up: int | None
    metrics: dict[str, float]
    #: As long as its assignment is kept.
    work: Work | None


def cell_details(session: Session, run_id: int, device: str, number: int) -> CellDetails | None:
    """A device in a round, by its name. None: it was not chosen for it."""
    P = ParticipationRow
    query = (
        select(P)
        .join(DeviceRow, DeviceRow.id == P.device_id)
        .join(RoundRow, (RoundRow.run_id == P.run_id) & (RoundRow.round == P.round))
        .where(P.run_id == run_id, P.round == number, P.attempt == RoundRow.attempt)
        .where(DeviceRow.name == device)
    )
    part = session.scalars(query).first()
    if part is None:
        return None
    work = round_pictures.work_of_round(session, run_id, number).get(part.device_id)
    return CellDetails(
        part.status,
        part.selection,
        part.reason or "",
        part.examples,
        part.seconds,
        part.bytes_up,
        dict(sorted(part.metrics.items())[:_METRICS]),
        work,
    )
