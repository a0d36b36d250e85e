"""Rollouts that stopped or wait, devices that do not get to their commit, quarantined versions, drift."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, aliased

from fedops.core.contracts import OnDrift
from fedops.core.reasons.commits import short_commit
from fedops.core.reasons.durations import first_few, pluralised
from fedops.core.states import DeploymentStatus, Enrolment, RolloutStatus
from fedops.server.attention.thing import DAY, Action, Attention, Severity, Within, page_of
from fedops.server.database.tables import (
    DeploymentRow,
    DeviceRow,
    FiringRow,
    ModelVersionRow,
    RolloutRow,
    ScheduleRow,
)
from fedops.server.delivery.rollouts.deployments import IS_LOCAL
from fedops.server.delivery.schedules.looks import DRIFT, trigger_of

_RECENT_SECONDS = 7 * DAY
_MOST = 50
_STUCK = (DeploymentStatus.ROLLED_BACK, DeploymentStatus.AWAITING_APPROVAL)


def rollouts(session: Session, now: float, within: Within) -> Iterator[Attention]:
    """Of each task the newest rollout, if it was stopped not long ago or waits for a person."""
    newest = select(func.max(RolloutRow.id)).group_by(RolloutRow.task)
    stopped = (RolloutRow.status == RolloutStatus.STOPPED) & (
        RolloutRow.ended_at > now - _RECENT_SECONDS
    )
    query = select(RolloutRow).where(
        RolloutRow.id.in_(newest), or_(stopped, RolloutRow.status == RolloutStatus.PAUSED)
    )
    if within is not None:
        query = query.where(RolloutRow.task.in_(within))
    for row in session.scalars(query.limit(_MOST)):
        halted = row.status is RolloutStatus.STOPPED
        what = "was stopped" if halted else "waits for your decision"
        because = f": {row.why}" if row.why else ""
        yield Attention(
            key=f"rollout {row.id}",
            severity=Severity.NOW if halted else Severity.SOON,
            sentence=f"The rollout of commit {short_commit(row.commit)} of {row.task} {what}{because}",
            since=row.status_since,
            actions=(show_rollout(row.task),),
        )


def stuck_devices(session: Session, within: Within) -> Iterator[Attention]:
    """Of each task the devices that will not get to their commit by themselves, with one's reason."""
    one = DeploymentRow
    query = (
        select(one.task, one.desired, one.reason, one.status_since, DeviceRow.name)
        .join(DeviceRow, DeviceRow.id == one.device_id)
        .join(RolloutRow, RolloutRow.id == one.rollout)
        .where(RolloutRow.ended_at.is_(None), one.desired.is_not(None))
        .where(DeviceRow.enrolment == Enrolment.APPROVED, IS_LOCAL.is_not(True))
        .where(or_(one.stalled, one.status.in_(_STUCK)))
        .order_by(one.task, DeviceRow.name)
    )
    if within is not None:
        query = query.where(one.task.in_(within))
    tasks: dict[str, list[tuple[str, str, str, float]]] = {}
    for task, commit, reason, since, name in session.execute(query):
        tasks.setdefault(task, []).append((commit or "", reason, name, since))
    for task, found in tasks.items():
        names = [name for _, _, name, _ in found]
        commit, reason, first, _ = found[0]
        yield Attention(
            key=f"devices behind {task}",
            severity=Severity.SOON,
            sentence=(
                f"{pluralised(len(found), 'device')} of {task} {_do(len(found))} not run commit "
                f"{short_commit(commit)}: {first_few(names)}"
                + (f"; {first}: {reason}" if reason else "")
            ),
            since=max(since for *_, since in found),
            actions=(show_rollout(task),),
        )


def _do(number: int) -> str:
    return "does" if number == 1 else "do"


_OF_TASK = aliased(ModelVersionRow)
_NEWEST = (
    select(func.max(_OF_TASK.version))
    .where(_OF_TASK.task == ModelVersionRow.task)
    .scalar_subquery()
)


def quarantined_versions(session: Session, now: float, within: Within) -> Iterator[Attention]:
    """Of each task the newest version, if it was quarantined not long ago."""
    row = ModelVersionRow
    query = select(row).where(row.quarantined_at > now - _RECENT_SECONDS, row.version == _NEWEST)
    if within is not None:
        query = query.where(row.task.in_(within))
    for one in session.scalars(query.limit(_MOST)):
        shown = Action(
            f"Show V{one.version}",
            f"{page_of('tasks', one.task)}/models/V{one.version}",
            f"fedops model show {one.task} V{one.version}",
        )
        run = (
            ()
            if one.run_id is None
            else (
                Action(
                    f"Show run {one.run_id}",
                    page_of("runs", one.run_id),
                    f"fedops run show {one.run_id}",
                ),
            )
        )
        yield Attention(
            key=f"version {one.task} V{one.version}",
            severity=Severity.SOON,
            sentence=f"V{one.version} of {one.task} is quarantined: {one.quarantine}",
            since=one.quarantined_at or now,
            actions=(shown, *run),
        )


def drift_alarms(session: Session, now: float, within: Within) -> Iterator[Attention]:
    """Schedules whose drift is beyond its threshold, as they saw it last."""
    query = select(ScheduleRow).order_by(ScheduleRow.task, ScheduleRow.name)
    if within is not None:
        query = query.where(ScheduleRow.task.in_(within))
    for row in session.scalars(query):
        seen = row.seen.get(DRIFT, {})
        if not seen.get("level") or not isinstance(trigger_of(row), OnDrift):
            continue
        firing = _newest_firing(session, row)
        why = firing.why if firing is not None else f"it is at {seen['level']:.3g}"
        yield Attention(
            key=f"drift {row.task} {row.name}",
            severity=Severity.SOON,
            sentence=f"The data of {row.task} drift: {why}",
            since=firing.at if firing is not None else row.changed_at,
            actions=(show_drift(row.task),),
        )


def _newest_firing(session: Session, row: ScheduleRow) -> FiringRow | None:
    one = FiringRow
    query = select(one).where(one.task == row.task, one.schedule == row.name)
    return session.scalars(query.order_by(one.id.desc()).limit(1)).first()


def show_rollout(task: str) -> Action:
    """Where the rollout of a task is seen."""
    page = f"/delivery?task={quote(task, safe='')}"
    return Action("Show rollout", page, f"fedops task status {task}")


def show_drift(task: str) -> Action:
    """Where the drift of a task is seen."""
    page = f"{page_of('tasks', task)}?tab=clients"
    return Action(f"Show {task}", page, f"fedops schedule list {task}")
