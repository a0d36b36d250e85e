"""Whose turn it is where several runs want one device: the run that began first has it until it ends.

All runs stand in one queue, so that no two can each hold what the other waits for.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.states import RUN_HOLDING, RUN_TRAINING
from fedops.server.tables import DeviceRow, MembershipRow, RunRow


@dataclass(frozen=True)
class Holder:
    """The run that has a device."""

    run_id: int
    task: str

    def why_not(self) -> str:
        """Why a later run cannot have the device."""
        return f"works for run {self.run_id} of task '{self.task}' first"


def _turn(run: RunRow) -> tuple[float, int]:
    return (run.created_at if run.queued_at is None else run.queued_at, run.id)


def of_device(session: Session, row: DeviceRow) -> RunRow | None:
    """The run that may train on the device now, if there is one."""
    query = (
        select(RunRow)
        .join(MembershipRow, MembershipRow.task == RunRow.task)
        .where(MembershipRow.device_id == row.id, RunRow.status.in_(RUN_HOLDING))
    )
    runs = [run for run in session.scalars(query) if row.name not in run.refused]
    first = min(runs, key=_turn, default=None)
    return first if first and first.status in RUN_TRAINING else None


def held(session: Session, run: RunRow) -> dict[str, Holder]:
    """The devices that runs before this one have, by device id."""
    query = select(RunRow).where(RunRow.status.in_(RUN_HOLDING), RunRow.id != run.id)
    earlier = [other for other in session.scalars(query) if _turn(other) < _turn(run)]
    found: dict[str, Holder] = {}
    for other in sorted(earlier, key=_turn):
        for device_id, name in _members(session, other.task):
            if name not in other.refused:
                found.setdefault(device_id, Holder(other.id, other.task))
    return found


def _members(session: Session, task: str) -> list[tuple[str, str]]:
    query = (
        select(DeviceRow.id, DeviceRow.name)
        .join(MembershipRow, MembershipRow.device_id == DeviceRow.id)
        .where(MembershipRow.task == task)
    )
    return [(device_id, name) for device_id, name in session.execute(query)]
