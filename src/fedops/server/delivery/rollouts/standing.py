"""How the devices of a task are with a rollout: who was asked, with a verdict on each, and who was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, case, func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import RolloutPolicy
from fedops.core.delivery.metric_gate import Compared, compare_codes
from fedops.core.delivery.waves import (
    Others,
    Placed,
    Share,
    Tagged,
    Verdict,
    WaveRules,
    WaveStep,
    first_wave,
    next_step,
)
from fedops.core.presence import is_online
from fedops.core.states import DeploymentStatus, ProcessStatus, ReadinessStatus
from fedops.server.database.tables import CommitRow, DeploymentRow, DeviceRow, RolloutRow, RunRow
from fedops.server.delivery.rollouts.deployments import takes_part
from fedops.server.delivery.rollouts.rollout_rows import policy_of

D = DeploymentStatus


@dataclass(frozen=True)
class Look:
    """A rollout at a moment: what follows, and the ids of the devices that it may ask next, by name."""

    step: WaveStep
    ids: dict[str, str]


def look_at(session: Session, row: RolloutRow, now: float) -> Look:
    """What follows for a rollout that is on its way, at ``now`` (POSIX seconds)."""
    policy = policy_of(row)
    placed = [verdict_on(one, row, policy, now) for one in _placed(session, row)]
    others = _others(session, row)
    there = [one.name for one in others if is_online(one.present_until, now)]
    away = [one.name for one in others if not is_online(one.present_until, now)]
    seconds = _judged_seconds(session, row, now)
    rules = rules_of(policy)
    tag = rules.canary.tag if isinstance(rules.canary, Tagged) else None
    tagged = frozenset(one.name for one in others if tag in one.tags)
    left = Others(there, away, tagged)
    step = next_step(rules, row.wave, placed, left, seconds, approved=row.approved)
    return Look(step, {one.name: one.id for one in others})


def rules_of(policy: RolloutPolicy) -> WaveRules:
    return WaveRules(
        canary=first_wave(policy.canary),
        further=Share.parse(policy.further),
        approval=policy.approval,
        judged_seconds=policy.judged_seconds,
        wave_seconds=policy.wave_seconds,
    )


def _judged_seconds(session: Session, row: RolloutRow, now: float) -> float:
    """For how long the wave could get on: not while a window or a run keeps devices from switching."""
    commit = select(CommitRow.bundle).where(
        CommitRow.task == row.task, CommitRow.commit == row.commit
    )
    in_the_way = (RunRow.ended_at.is_(None)) & (RunRow.bundle != commit.scalar_subquery())
    query = select(func.max(RunRow.ended_at), func.count(case((in_the_way, 1)))).where(
        RunRow.task == row.task
    )
    ended, going = session.execute(query).one()
    if row.hold or going:
        return 0.0
    return max(now - max(row.wave_since, ended or 0.0), 0.0)


_Row = Row[Any]


def _placed(session: Session, row: RolloutRow) -> Sequence[_Row]:
    one = DeploymentRow
    query = (
        select(DeviceRow.name, DeviceRow.last_heartbeat_at, DeviceRow.present_until)
        .add_columns(DeviceRow.process, one.wave, one.status, one.status_since, one.reason)
        .add_columns(one.stalled, one.actual, one.report)
        .where(takes_part(row.task), one.rollout == row.id, one.desired == row.commit)
        .order_by(DeviceRow.name)
    )
    return session.execute(query).all()


def _others(session: Session, row: RolloutRow) -> Sequence[Row[str, str, float | None, list[str]]]:
    """Those not asked yet. Who was asked for what never passed its gates comes first, then by name."""
    one = DeploymentRow
    unproven = one.desired.is_not(None) & (one.desired != (row.previous or ""))
    query = (
        select(DeviceRow.id, DeviceRow.name, DeviceRow.present_until, DeviceRow.tags)
        .where(takes_part(row.task), one.rollout.is_(None) | (one.rollout != row.id))
        .order_by(case((unproven, 0), else_=1), DeviceRow.name)
    )
    return session.execute(query).all()


def verdict_on(one: _Row, row: RolloutRow, policy: RolloutPolicy, now: float) -> Placed:
    """How a device is with the commit that it was asked for, and for how long it has been so."""
    verdict, why = _by_report(one, policy)
    if verdict is Verdict.GOOD:
        verdict, why = _by_process(one.process, row.task)
    seconds = max(now - one.status_since, 0.0)
    if verdict is not Verdict.BAD and not is_online(one.present_until, now):
        heard = max((one.last_heartbeat_at or 0.0) - one.status_since, 0.0)
        if verdict is not Verdict.GOOD or heard < policy.judged_seconds:
            return Placed(one.name, one.wave or 0, Verdict.AWAY, "away")
        seconds = heard  # it was watched for long enough before it left
    return Placed(one.name, one.wave or 0, verdict, why, seconds)


def _by_report(one: _Row, policy: RolloutPolicy) -> tuple[Verdict, str]:
    """What it says of the commit itself."""
    if one.status is D.ROLLED_BACK:
        return Verdict.BAD, one.reason or "rolled back"
    if one.status in (D.CHECKING, D.ACTIVE):
        said = one.report
        before, after = said.get("before", {}), said.get("metrics", {})
        found, why = compare_codes(policy.metric, policy.may_lose, before, after)
        if found is Compared.WORSE:
            return Verdict.BAD, why
        if found is Compared.UNKNOWN and one.status is D.ACTIVE:
            return Verdict.STALLED, why
    if one.stalled or one.status is D.AWAITING_APPROVAL:
        return Verdict.STALLED, one.reason or "waits for the approval of its owner"
    if one.status is D.ACTIVE:
        return Verdict.GOOD, ""
    return Verdict.GOING, one.reason or _DOING[one.status]


_DOING = {
    D.DESIRED: "has not answered yet",
    D.WAITING: "waits",
    D.FETCHING: "fetches it",
    D.PREPARING: "builds its environment",
    D.CHECKING: "tries it",
}


def _by_process(process: dict[str, Any], task: str) -> tuple[Verdict, str]:
    """Whether the training client of the new code lives, and could take work."""
    status, reason = process.get("status"), process.get("reason") or ""
    if status == ProcessStatus.FATAL:
        return Verdict.BAD, f"its training client was given up: {reason}"
    if status == ProcessStatus.BACKOFF:
        return Verdict.GOING, f"its training client died and starts again: {reason}"
    for entry in process.get("readiness", ()):
        if entry.get("status") == ReadinessStatus.REFUSED and entry.get("task") in (None, task):
            return Verdict.GOING, f"not ready: {entry.get('reason')}"
    return Verdict.GOOD, ""
