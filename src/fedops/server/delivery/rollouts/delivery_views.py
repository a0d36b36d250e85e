"""The delivery of a task as people read it: its source, commits, rollout, and each device with a why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, case, select
from sqlalchemy.orm import Session

from fedops.core.contracts import (
    CommitChanges,
    CommitRead,
    DeliveryRead,
    DeploymentRead,
    RolloutPolicy,
    RolloutRead,
    SourceRead,
)
from fedops.core.reasons import next_steps
from fedops.core.reasons.commits import short_commit
from fedops.core.states import Enrolment, RolloutStatus
from fedops.server.database.tables import (
    CommitRow,
    DeploymentRow,
    DeviceRow,
    MembershipRow,
    RolloutRow,
    SourceRow,
)
from fedops.server.delivery.repositories.git_errors import shown
from fedops.server.delivery.rollouts import rollout_rows
from fedops.server.delivery.rollouts.device_words import Deployed, health_of, why_of
from fedops.server.delivery.rollouts.standing import look_at
from fedops.server.tasks import tasks

#: How many of its newest commits and rollouts are shown.
NEWEST = 20
R = RolloutStatus


def read_delivery(session: Session, task: str, now: float) -> DeliveryRead:
    """All of it. ``NotFound`` when there is no such task."""
    tasks.require_task(session, task)
    source = session.get(SourceRow, task)
    rollout = rollout_rows.newest_rollout(session, task)
    return DeliveryRead(
        task=task,
        source=source_view(source) if source else None,
        commits=_commits(session, task),
        rollout=rollout_view(session, rollout, now) if rollout else None,
        deployments=_deployments(session, task, rollout, now),
        runs_use=rollout_rows.commit_in_use(session, task),
    )


def read_source(session: Session, task: str) -> SourceRead | None:
    """Where the code of a task comes from; None: it has no source."""
    row = session.get(SourceRow, task)
    return source_view(row) if row else None


def list_rollouts(
    session: Session, task: str, now: float, known: RolloutRead | None = None
) -> list[RolloutRead]:
    """The newest of a task, the newest first. ``known``: one that was read already."""
    tasks.require_task(session, task)
    query = select(RolloutRow).where(RolloutRow.task == task).order_by(RolloutRow.id.desc())
    return [
        known if known is not None and known.id == row.id else rollout_view(session, row, now)
        for row in session.scalars(query.limit(NEWEST))
    ]


def source_view(row: SourceRow) -> SourceRead:
    """A task's source as people see it: without the password that its URL may have."""
    return SourceRead(
        url=shown(row.url),
        ref=row.ref,
        subfolder=row.subfolder,
        poll_seconds=row.poll_seconds,
        policy=RolloutPolicy.model_validate(row.policy),
        commit=row.commit,
        pinned=row.pinned,
        looked_at=row.looked_at,
        problem=row.problem,
    )


def _commits(session: Session, task: str) -> list[CommitRead]:
    query = select(CommitRow).where(CommitRow.task == task).order_by(CommitRow.id.desc())
    return [
        CommitRead(
            commit=row.commit,
            status=row.status,
            reason=row.reason,
            subject=row.subject,
            author=row.author,
            authored_at=row.authored_at,
            seen_at=row.seen_at,
            bundle=row.bundle,
            fingerprint=row.fingerprint,
            changes=CommitChanges.model_validate(row.changes),
        )
        for row in session.scalars(query.limit(NEWEST))
    ]


def rollout_view(session: Session, row: RolloutRow, now: float) -> RolloutRead:
    return RolloutRead(
        id=row.id,
        task=row.task,
        commit=row.commit,
        status=row.status,
        wave=row.wave,
        why=_why(session, row, now),
        previous=row.previous,
        policy=rollout_rows.policy_of(row),
        created_at=row.created_at,
        since=row.status_since,
        ended_at=row.ended_at,
    )


def _why(session: Session, row: RolloutRow, now: float) -> str:
    """What it waits for now, or how it ended, and what a person can do."""
    if row.status in (R.PENDING, R.WAVING):
        return next_steps.sentence(look_at(session, row, now).step.why, row.hold)
    return next_steps.sentence(row.why, row.hold, _step_after(row))


def _step_after(row: RolloutRow) -> str:
    task = row.task
    if row.status is R.PAUSED:
        return (
            f"'fedops task approve {task}' lets the next wave begin, 'fedops task resume {task}' waits "
            f"on, 'fedops task stop-rollout {task}' takes it back"
        )
    if row.status is R.STOPPED:
        back = f"devices go back to {short_commit(row.previous)}" if row.previous else ""
        again = (
            f"'fedops task rollout {task} --commit {short_commit(row.commit)} --again' tries again"
        )
        return next_steps.sentence(back, f"mend it in a new commit, or {again}")
    return ""


# --- devices ---------------------------------------------------------------------------------


def first_deployments(session: Session, task: str, now: float, limit: int) -> list[DeploymentRead]:
    """Some approved devices of a task: those that do not run what is wanted of them first, then by name."""
    rollout = rollout_rows.newest_rollout(session, task)
    return _deployments(session, task, rollout, now, limit)


def deployments_of_device(
    session: Session, device_id: str, now: float, within: frozenset[str] | None = None
) -> list[tuple[str, DeploymentRead]]:
    """What a device is asked to run and runs, by task. ``within``: of these tasks alone."""
    mine = select(MembershipRow.task).where(MembershipRow.device_id == device_id)
    if within is not None:
        mine = mine.where(MembershipRow.task.in_(within))
    found = []
    for task in session.scalars(mine.order_by(MembershipRow.task)).all():
        rollout = rollout_rows.newest_rollout(session, task)
        going = rollout if rollout is not None and rollout.ended_at is None else None
        query = _query(task).where(DeviceRow.id == device_id)
        found += [(task, _deployment(row, task, going, now)) for row in _all(session, query)]
    return found


def _deployments(
    session: Session, task: str, rollout: RolloutRow | None, now: float, limit: int | None = None
) -> list[DeploymentRead]:
    """Every approved device of the task by name, or so many of those that are in need first."""
    one, query = DeploymentRow, _query(task)
    if limit is not None:
        is_behind = one.desired.is_not(None) & (one.actual.is_(None) | (one.actual != one.desired))
        query = query.order_by(case((is_behind, 0), else_=1)).limit(limit)
    query = query.order_by(DeviceRow.name)
    going = rollout if rollout is not None and rollout.ended_at is None else None
    return [_deployment(row, task, going, now) for row in _all(session, query)]


def _query(task: str) -> Select[Any]:
    """The approved devices of a task with what is known of their deployments."""
    one = DeploymentRow
    return (
        select(DeviceRow.name, DeviceRow.last_heartbeat_at, DeviceRow.present_until)
        .add_columns(one.task, one.desired, one.rollout, one.wave, one.status, one.status_since)
        .add_columns(one.reason, one.stalled, one.actual, one.actual_since, one.report)
        .join(MembershipRow, MembershipRow.device_id == DeviceRow.id)
        .outerjoin(one, (one.device_id == DeviceRow.id) & (one.task == task))
        .where(MembershipRow.task == task, DeviceRow.enrolment == Enrolment.APPROVED)
    )


def _all(session: Session, query: Any) -> Sequence[Row[Any]]:
    return session.execute(query).all()


def _deployment(row: Row[Any], task: str, rollout: RolloutRow | None, now: float) -> DeploymentRead:
    facts = Deployed.of(row, task, rollout, now)
    report = row.report or {}
    synced = row.desired is None or row.desired == row.actual
    return DeploymentRead(
        device=row.name,
        desired=row.desired,
        actual=row.actual,
        synced=synced,
        health=health_of(facts),
        status=row.status,
        since=row.actual_since if synced and row.actual else row.status_since,
        why=why_of(facts),
        wave=row.wave if rollout is not None and row.rollout == rollout.id else None,
        local=report.get("local", False),
        dirty=report.get("dirty", False),
        packages=report.get("packages", {}),
    )
