"""How many devices there are, and how they are: counted by the database, as there may be thousands."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session

from fedops.core.states import Enrolment
from fedops.server.database.tables import DeviceRow, MembershipRow
from fedops.storage.shortages import shortages

#: A device that is away for less may have a short trouble with its network. Seconds.
LOST_AFTER = 300.0


@dataclass(frozen=True)
class DeviceCounts:
    """Devices, removed ones left out."""

    total: int
    online: int
    #: Approved, in a task, and away for longer than ``LOST_AFTER``.
    lost: int
    #: They wait to be approved.
    pending: int


def count_devices(
    session: Session, now: float, within: frozenset[str] | None = None
) -> DeviceCounts:
    """How they are at ``now`` (POSIX seconds). ``within``: devices of these tasks alone."""
    one, heard = DeviceRow, now - shortages.unwritten_seconds
    joined = select(MembershipRow.device_id)
    if within is not None:
        joined = joined.where(MembershipRow.task.in_(within))
    member = one.id.in_(joined)
    lost = and_(one.enrolment == Enrolment.APPROVED, one.present_until < heard - LOST_AFTER, member)
    query = select(
        func.count(),
        func.count(case((one.present_until > heard, 1))),
        func.count(case((lost, 1))),
        func.count(case((one.enrolment == Enrolment.PENDING, 1))),
    ).where(one.enrolment != Enrolment.REMOVED)
    if within is not None:
        query = query.where(member)
    return DeviceCounts(*session.execute(query).one())
