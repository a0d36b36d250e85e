"""How the devices of each wave are with what is wanted of them, counted in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, null, or_, select
from sqlalchemy.orm import Session

from fedops.core.states import ROLLOUT_MOVING, DeploymentStatus, Enrolment, RolloutStatus
from fedops.server.database.tables import DeploymentRow, DeviceRow, MembershipRow, RolloutRow
from fedops.server.delivery.rollouts import rollout_rows


@dataclass(frozen=True)
class WaveStanding:
    """Approved devices that were asked together. ``wave`` None: those that were not asked by the rollout."""

    wave: int | None
    devices: int
    #: They run what is wanted.
    synced: int
    #: What is wanted was no good there, or they do not get on by themselves.
    failed: int
    #: They are away and do not run it yet.
    away: int

    @property
    def at_it(self) -> int:
        """They install it, or their turn has not come."""
        return self.devices - self.synced - self.failed - self.away


@dataclass(frozen=True)
class Waves:
    """The newest rollout of a task, if there was one, and all of the task's devices."""

    commit: str | None
    status: RolloutStatus | None
    #: What it waits for, or how it ended.
    why: str
    waves: list[WaveStanding]

    @property
    def devices(self) -> int:
        return sum(one.devices for one in self.waves)


def read_waves(session: Session, task: str, now: float) -> Waves:
    """The waves of a task's newest rollout, then its other devices."""
    rollout = rollout_rows.newest_rollout(session, task)
    if rollout is None:
        return Waves(None, None, "", _counted(session, task, None, now))
    why = rollout.hold or rollout.why or ""
    return Waves(rollout.commit, rollout.status, why, _counted(session, task, rollout, now))


def _counted(
    session: Session, task: str, rollout: RolloutRow | None, now: float
) -> list[WaveStanding]:
    one = DeploymentRow
    asked = case((one.rollout == rollout.id, one.wave), else_=None) if rollout else null()
    synced, failed, away = _kinds(rollout, now)
    query = (
        select(asked.label("asked_in"), func.count(), _sum(synced))
        .add_columns(_sum(~synced & failed), _sum(~synced & ~failed & away))
        .select_from(MembershipRow)
        .join(DeviceRow, DeviceRow.id == MembershipRow.device_id)
        .outerjoin(one, and_(one.device_id == DeviceRow.id, one.task == MembershipRow.task))
        .where(MembershipRow.task == task, DeviceRow.enrolment == Enrolment.APPROVED)
        .group_by("asked_in")
    )
    found = [WaveStanding(number, *map(int, counts)) for number, *counts in session.execute(query)]
    return sorted(found, key=lambda each: (each.wave is None, each.wave))


def _kinds(
    rollout: RolloutRow | None, now: float
) -> tuple[ColumnElement[bool], ColumnElement[bool], ColumnElement[bool]]:
    """Whether a device runs what is wanted, has failed at it, is away; none of them is NULL."""
    one = DeploymentRow
    moving = rollout is not None and rollout.status in ROLLOUT_MOVING
    wanted: Any = rollout.commit if rollout is not None and moving else one.desired
    # Who is asked for nothing has its owner's own folder, or nothing was rolled out yet.
    own = and_(one.desired.is_(None), or_(one.status.is_(None), one.actual.is_not(None)))
    synced = func.coalesce(or_(own, one.actual == wanted), False)
    bad = one.status.in_((DeploymentStatus.ROLLED_BACK, DeploymentStatus.AWAITING_APPROVAL))
    failed = func.coalesce(or_(bad, one.stalled), False)
    away = func.coalesce(DeviceRow.present_until <= now, True)
    return synced, failed, away


def _sum(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
