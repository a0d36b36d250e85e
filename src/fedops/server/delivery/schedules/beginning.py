"""From a schedule that is due to a run: at once, later, or not at all, always with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import RunStart
from fedops.core.errors import FedOpsError, RunBusy
from fedops.core.states import (
    FIRING_TRANSITIONS,
    ROLLOUT_MOVING,
    FiringStatus,
    RolloutStatus,
    TaskStatus,
)
from fedops.server.database.compare_and_set import transition
from fedops.server.database.tables import FiringRow, RolloutRow, RunRow, ScheduleRow, TaskRow
from fedops.server.delivery.schedules import device_data, firing_rows, looks, promotion
from fedops.server.delivery.schedules.looks import Look
from fedops.server.runs import control
from fedops.server.tasks import tasks

F = FiringStatus
_SKIPS = "skip"
MISSED = "it was missed: the server was down, or its clock was set ahead"


def take_note(session: Session, row: ScheduleRow, found: Look, now: float) -> None:
    """Keep what a look has found. Where it fires, a run is to begin, unless the schedule says otherwise."""
    for name, value in found.values.items():
        setattr(row, name, value)
    session.flush()
    if found.fires:
        _fire(session, row, found, now)


def _fire(session: Session, row: ScheduleRow, found: Look, now: float) -> None:
    waiting = firing_rows.waiting_firing(session, row.task, row.name)
    if waiting is not None:  # remembered once, however many follow
        waiting.more += 1
        return
    why = f"{found.fires} (missed, now made up for)" if found.missed else found.fires
    active = tasks.active_run(session, row.task)
    reason = MISSED if found.missed else f"run {active} is going on" if active is not None else ""
    if row.missed == _SKIPS and reason:
        _skip(session, row, found.fires, reason, now)
        return
    firing_rows.add_firing(session, row, why, now)


def _skip(session: Session, row: ScheduleRow, why: str, reason: str, now: float) -> None:
    """Once for the same reason: a schedule that ticks each second fills no table."""
    last = firing_rows.last_firing(session, row.task, row.name)
    if last is not None and (last.status, last.outcome) == (F.SKIPPED, reason):
        last.more, last.ended_at = last.more + 1, now
        return
    firing = firing_rows.add_firing(session, row, why, now)
    firing_rows.end_firing(session, firing, F.SKIPPED, reason, now)


# --- the run ---------------------------------------------------------------------------------


def begin_waiting(session: Session, task: str, now: float) -> None:
    """Begin the run of the firing that has waited longest, if the task lets it. Repeatable.

    One run does for all that wait for the same: other firings with its overrides, devices and promotion.
    """
    waiting = _waiting(session, task)
    if not waiting:
        return
    if why_not := _in_the_way(session, task):
        for firing, _ in waiting:
            firing.outcome = why_not
        return
    (firing, row), *others = waiting
    run = _begin(session, firing, row, now)
    if run is None:
        return
    for other, its in others:
        if _same(its, row):
            why = f"run {run.id}, begun by schedule '{row.name}', does the same"
            firing_rows.end_firing(session, other, F.SKIPPED, why, now)
            its.seen = looks.seen_now(session, its)
        else:
            other.outcome = f"run {run.id} is going on"


def is_news(session: Session, task: str) -> bool:
    """Whether ``begin_waiting`` would do or note anything."""
    waiting, why_not = _waiting(session, task), _in_the_way(session, task)
    return any(not why_not or firing.outcome != why_not for firing, _ in waiting)


def _waiting(session: Session, task: str) -> Sequence[tuple[FiringRow, ScheduleRow]]:
    query = (
        select(FiringRow, ScheduleRow)
        .join(
            ScheduleRow,
            (ScheduleRow.task == FiringRow.task) & (ScheduleRow.name == FiringRow.schedule),
        )
        .where(FiringRow.task == task, FiringRow.status == F.WAITING)
        .order_by(FiringRow.id)
    )
    return [(firing, row) for firing, row in session.execute(query)]


def _same(one: ScheduleRow, other: ScheduleRow) -> bool:
    return (one.overrides, one.devices, one.promotion) == (
        other.overrides,
        other.devices,
        other.promotion,
    )


def _in_the_way(session: Session, task: str) -> str:
    """Why no run of the task can begin now; "": nothing is in the way."""
    status = session.get_one(TaskRow, task).status
    if status is not TaskStatus.READY:
        return f"the task is {status.value}"
    active = tasks.active_run(session, task)
    if active is not None:
        return f"run {active} is going on"
    moving = ROLLOUT_MOVING - {RolloutStatus.PAUSED}
    query = select(RolloutRow).where(RolloutRow.task == task, RolloutRow.status.in_(moving))
    query = query.where(RolloutRow.hold == "")  # else devices run what they run, maybe for days
    rollout = session.scalars(query.limit(1)).one_or_none()
    if rollout is None:
        return ""
    return f"rollout {rollout.id} of commit {rollout.commit[:10]} is on its way"


def _begin(session: Session, firing: FiringRow, row: ScheduleRow, now: float) -> RunRow | None:
    """None: it could not begin, now (it waits on) or at all."""
    try:
        with session.begin_nested():
            return _begun(session, firing, row, now)
    except RunBusy as error:  # somebody started another run just now
        firing.outcome = error.message
    except FedOpsError as error:
        if firing_rows.end_firing(session, firing, F.FAILED, error.message, now):
            promotion.count_unpromoted(session, row, f"no run could begin: {error.message}", now)
    return None


def _begun(session: Session, firing: FiringRow, row: ScheduleRow, now: float) -> RunRow:
    version = device_data.start_version(session, row.task)
    body = RunStart(overrides=row.overrides, from_version=version, devices=row.devices)
    task = control.require_startable_task(session, row.task)
    run = control.snapshot_run(session, task, body, now)
    run.schedule, run.firing = row.name, firing.id
    why = f"firing {firing.id} of schedule '{row.name}': {control.beginning_of(run)}"
    control.enqueue_run(session, run, why, firing_rows.named(row.name))
    begun = f"run {run.id} has begun"
    transition(
        session, firing, "status", FIRING_TRANSITIONS, F.RUNNING, outcome=begun, run_id=run.id
    )
    row.seen = looks.seen_now(session, row)
    return run
