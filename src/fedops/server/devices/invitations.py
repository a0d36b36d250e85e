"""Which rounds wait for a device, and how they learn that it can be invited."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.states import ATTEMPT_LIVE, Enrolment
from fedops.server.database.tables import AttemptRow, DeviceRow, MembershipRow, RunRow
from fedops.server.devices import availability
from fedops.server.events.notifications import AttemptSignal, notify


@dataclass(frozen=True)
class Waiting:
    """A live attempt of a task the device is in."""

    attempt_id: int
    task: str
    refused: dict[str, str]
    #: Names or patterns of the devices that the run is for. None: all.
    group: list[str] | None


def waiting_attempts(session: Session, row: DeviceRow) -> list[Waiting]:
    """The attempts that may want the device."""
    if row.enrolment is not Enrolment.APPROVED:
        return []
    query = (
        select(AttemptRow.id, RunRow.task, RunRow.refused, RunRow.devices)
        .join(RunRow, RunRow.id == AttemptRow.run_id)
        .join(MembershipRow, MembershipRow.task == RunRow.task)
        .where(MembershipRow.device_id == row.id, AttemptRow.status.in_(ATTEMPT_LIVE))
    )
    return [Waiting(*found) for found in session.execute(query)]


def could_invite(row: DeviceRow, waiting: Iterable[Waiting], now: float) -> set[int]:
    """The attempts that could invite the device as it is now."""
    return {
        w.attempt_id
        for w in waiting
        if availability.unavailable_because(row, w.task, w.refused, now, w.group) is None
    }


def tell_ready(session: Session, attempt_ids: Iterable[int]) -> None:
    """A round that waits for devices should look again."""
    notify(session, *(AttemptSignal(attempt_id) for attempt_id in sorted(attempt_ids)))
