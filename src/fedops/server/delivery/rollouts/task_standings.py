"""The delivery of all tasks in short: what each wants, how many of its devices run that, what goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, case, func, select
from sqlalchemy.orm import Session

from fedops.core.states import ROLLOUT_MOVING, Enrolment, RolloutStatus, TaskStatus
from fedops.server.database.tables import (
    DeploymentRow,
    DeviceRow,
    MembershipRow,
    RolloutRow,
    SourceRow,
    TaskRow,
)
from fedops.server.delivery.repositories.git_errors import shown


@dataclass(frozen=True)
class TaskStanding:
    """One task. Commits are None where nothing is known of any."""

    task: str
    #: None: its devices bring their own app.
    source: str | None
    commit: str | None
    pinned: str | None
    #: Why the source could not be read last time; "": it could.
    problem: str
    rollout: RolloutStatus | None
    rollout_commit: str | None
    #: What the rollout waits for, or how it ended.
    why: str
    since: float | None
    #: Approved devices, and those of them that do not run what is wanted in the end, whatever their wave.
    devices: int
    behind: int


def list_standings(
    session: Session, within: frozenset[str] | None = None, most: int = 200
) -> list[TaskStanding]:
    """Tasks that are not archived: those with a source first, then by name. ``within``: only these."""
    behind = {row.task: row for row in session.execute(_counts())}
    return [_standing(row, behind.get(row.name)) for row in session.execute(_tasks(within, most))]


def _tasks(within: frozenset[str] | None, most: int) -> Select[Any]:
    newest = select(func.max(RolloutRow.id)).where(RolloutRow.task == TaskRow.name)
    query = (
        select(TaskRow.name, SourceRow.url, SourceRow.commit, SourceRow.pinned, SourceRow.problem)
        .add_columns(RolloutRow.status, RolloutRow.commit.label("rollout_commit"))
        .add_columns(RolloutRow.why, RolloutRow.hold, RolloutRow.status_since)
        .outerjoin(SourceRow, SourceRow.task == TaskRow.name)
        .outerjoin(RolloutRow, RolloutRow.id == newest.correlate(TaskRow).scalar_subquery())
        .where(TaskRow.status != TaskStatus.ARCHIVED)
        .order_by(SourceRow.url.is_(None), TaskRow.name)
        .limit(most)
    )
    return query if within is None else query.where(TaskRow.name.in_(within))


def _counts() -> Select[Any]:
    one = DeploymentRow
    wanted = func.coalesce(RolloutRow.commit, one.desired)
    # Who has something and is asked for nothing has its owner's own folder.
    managed = one.desired.is_not(None) | (one.status.is_not(None) & one.actual.is_(None))
    is_behind = managed & wanted.is_not(None) & (one.actual.is_(None) | (one.actual != wanted))
    moving = (RolloutRow.task == MembershipRow.task) & RolloutRow.status.in_(ROLLOUT_MOVING)
    return (
        select(MembershipRow.task, func.count().label("devices"))
        .add_columns(func.sum(case((is_behind, 1), else_=0)).label("behind"))
        .join(DeviceRow, DeviceRow.id == MembershipRow.device_id)
        .outerjoin(one, (one.device_id == DeviceRow.id) & (one.task == MembershipRow.task))
        .outerjoin(RolloutRow, moving)
        .where(DeviceRow.enrolment == Enrolment.APPROVED)
        .group_by(MembershipRow.task)
    )


def _standing(row: Row[Any], counted: Row[Any] | None) -> TaskStanding:
    return TaskStanding(
        task=row.name,
        source=shown(row.url) if row.url else None,
        commit=row.commit,
        pinned=row.pinned,
        problem=row.problem or "",
        rollout=row.status,
        rollout_commit=row.rollout_commit,
        why=row.hold or row.why or "",
        since=row.status_since,
        devices=counted.devices if counted else 0,
        behind=int(counted.behind) if counted else 0,
    )
