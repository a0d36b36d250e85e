"""What each device of a task is asked to run: placed in waves, returned, and let converge.

Rows of many devices are changed by one statement: there may be thousands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import ColumnElement, Table, Update, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from fedops.core.states import DeploymentStatus, Enrolment
from fedops.server.database.tables import DeploymentRow, DeviceRow, MembershipRow, RolloutRow
from fedops.server.delivery.rollouts.rollout_rows import newest_attempt
from fedops.server.events.notifications import DeviceChanged, WorkForRollouts, notify

#: Fewer devices than these fetch at once; of more, so many begin in a second, within a limit. Seconds.
_AT_ONCE, _A_SECOND, _MOST_SECONDS = 10, 50.0, 60.0
_TABLE = cast(Table, DeploymentRow.__table__)
#: Where a device ends up with a commit.
_SETTLED = (DeploymentStatus.ACTIVE, DeploymentStatus.ROLLED_BACK)
#: Chosen by a device's own word: nobody changes the folder that its owner gives it.
IS_LOCAL = DeploymentRow.report["local"].as_boolean()


@dataclass(frozen=True)
class Asked:
    """What devices are asked to run. ``commit`` None: nothing any more."""

    commit: str | None
    attempt: int = 0
    rollout: int | None = None
    wave: int | None = None


def of_wave(row: RolloutRow, wave: int | None) -> Asked:
    """The rollout's commit, as a part of a wave; None: of none, as it comes late."""
    return Asked(row.commit, row.attempt, row.id, wave)


def back_to(session: Session, task: str, commit: str | None) -> Asked:
    """A commit that was good before. Devices that have it need not try it again."""
    return Asked(commit, newest_attempt(session, task, commit) if commit else 0)


def ask(
    session: Session, task: str, device_ids: Sequence[str], asked: Asked, now: float
) -> Sequence[str]:
    """Ask devices of a task for a commit. They fetch it spread over time, if they are many."""
    if not device_ids:
        return device_ids
    spread = spread_seconds(len(device_ids))
    rows = [
        {"key": id_, "after": spread * _fraction(id_, asked.commit or "")} for id_ in device_ids
    ]
    statement = (
        update(_TABLE)
        .where(_TABLE.c.task == task, _TABLE.c.device_id == bindparam("key"))
        .values(
            desired=asked.commit,
            attempt=asked.attempt,
            rollout=asked.rollout,
            wave=asked.wave,
            after_seconds=bindparam("after"),
            status=DeploymentStatus.DESIRED,
            status_since=now,
            reason="",
            stalled=False,
        )
    )
    session.flush()
    connection = session.connection()
    connection.execute(statement, rows)
    for status in _SETTLED:
        connection.execute(_told_before(task, asked, status))
    session.expire_all()
    notify(session, *(DeviceChanged(id_) for id_ in device_ids), WorkForRollouts())
    return device_ids


def _told_before(task: str, asked: Asked, status: DeploymentStatus) -> Update:
    """What a device has said of this very attempt holds: it will not say it again."""
    report, columns = DeploymentRow.report, _TABLE.c
    return (
        update(_TABLE)
        .where(columns.task == task, columns.status == DeploymentStatus.DESIRED)
        .where(columns.desired == asked.commit, columns.attempt == asked.attempt)
        .where(report["commit"].as_string() == asked.commit)
        .where(report["attempt"].as_integer() == asked.attempt)
        .where(report["status"].as_string() == status.value)
        .values(status=status, reason=func.coalesce(report["reason"].as_string(), ""))
    )


def spread_seconds(count: int) -> float:
    """Over how long so many devices begin to fetch. Seconds."""
    return 0.0 if count < _AT_ONCE else min(count / _A_SECOND, _MOST_SECONDS)


def _fraction(device_id: str, commit: str) -> float:
    """Between 0 and 1: the same for the same device and commit, another for another."""
    digest = hashlib.sha256(f"{device_id} {commit}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def asked_by(session: Session, row: RolloutRow, *where: ColumnElement[bool]) -> list[str]:
    """The devices that this rollout has asked, by id."""
    query = select(DeploymentRow.device_id).where(DeploymentRow.rollout == row.id, *where)
    return list(session.scalars(query.order_by(DeploymentRow.device_id)))


def takes_part(task: str) -> ColumnElement[bool]:
    """Chooses the devices of a task whose code comes from the server. Joins are the caller's."""
    return and_(
        DeploymentRow.task == task,
        MembershipRow.task == task,
        MembershipRow.device_id == DeploymentRow.device_id,
        DeviceRow.id == DeploymentRow.device_id,
        DeviceRow.enrolment == Enrolment.APPROVED,
        IS_LOCAL.is_not(True),
    )


def who_wants(session: Session, task: str, asked: Asked, *, new_only: bool = False) -> list[str]:
    """The devices that are asked for something else than this. ``new_only``: of them, for nothing."""
    row = DeploymentRow
    other: ColumnElement[bool] = row.desired.is_(None)
    if not new_only:
        again = row.attempt != asked.attempt if asked.rollout is not None else row.attempt < 0
        other = or_(other, row.desired != asked.commit, again)
    query = select(row.device_id).where(takes_part(task), other)
    return list(session.scalars(query.order_by(row.device_id)))
