"""Schedules as operators set, read, fire, pause, resume and remove them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedops.config.loading import parse_config
from fedops.config.overrides import refuse_of_device
from fedops.core.contracts import (
    Cron,
    FiringRead,
    OnCommit,
    OnDemand,
    OnDrift,
    OnNewData,
    ScheduleRead,
    ScheduleSet,
)
from fedops.core.delivery.triggers import when_text
from fedops.core.errors import Conflict, NotFound
from fedops.core.reasons.durations import duration
from fedops.core.states import FiringStatus, TaskStatus
from fedops.core.suggestions import did_you_mean
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import FiringRow, ScheduleRow, TaskRow
from fedops.server.delivery.schedules import beginning, firing_rows, looks, promotion
from fedops.server.delivery.schedules.looks import DriftStanding, Look
from fedops.server.events import event_log
from fedops.server.tasks import tasks

#: So many schedules may one task have.
MOST = 100
_BY_HAND = "asked for"


def set_schedule(
    session: Session, task: str, name: str, body: ScheduleSet, now: float
) -> ScheduleRead:
    """A new schedule, or another setting of one. What it saw at its last run it knows as long as its trigger
    is the same.

    Raises:
        NotFound: there is no such task.
        Invalid: its trigger or an override cannot be.
        Conflict: the task has very many schedules already.
    """
    owner = tasks.require_task(session, task)
    _require_overrides(owner, body)
    first = looks.first_tick(body.trigger, now)
    row = session.get(ScheduleRow, (task, name))
    if row is None:
        _require_room(session, task)
        row = ScheduleRow(task=task, name=name, created_at=now, unpromoted=0, paused_why="")
        row.trigger, row.seen = {}, {}
        session.add(row)
    trigger = body.trigger.model_dump(mode="json")
    if row.trigger != trigger:
        row.trigger, row.next_at, row.ticked_at, row.changed_at = trigger, first, None, now
        row.seen = {looks.BUNDLE: owner.bundle}
    row.overrides, row.devices, row.missed = body.overrides, body.devices, body.missed
    row.promotion = body.promotion.model_dump(mode="json")
    row.unpromoted = 0
    session.flush()
    row.seen = looks.seen_now(session, row) if looks.DEVICES not in row.seen else row.seen
    _log(session, row, "schedule.set", when_text(body.trigger), now)
    return schedule_read(session, row, now)


def _require_overrides(owner: TaskRow, body: ScheduleSet) -> None:
    """``Invalid`` for what no run could use."""
    refuse_of_device(body.overrides)
    if owner.status is not TaskStatus.DRAFT:
        base = parse_config(owner.config, f"the config of task '{owner.name}'")
        tasks.effective_config(base, body.overrides, owner.name)


def _require_room(session: Session, task: str) -> None:
    if len(session.scalars(select(ScheduleRow.name).where(ScheduleRow.task == task)).all()) >= MOST:
        raise Conflict(f"task '{task}' has {MOST} schedules already: remove one of them first")


def require_schedule(session: Session, task: str, name: str) -> ScheduleRow:
    """The schedule, or ``NotFound`` naming those there are."""
    tasks.require_task(session, task)
    row = session.get(ScheduleRow, (task, name))
    if row is None:
        query = select(ScheduleRow.name).where(ScheduleRow.task == task)
        known = sorted(session.scalars(query))
        there = f"; it has: {', '.join(known)}" if known else "; it has none yet"
        raise NotFound(
            f"task '{task}' has no schedule '{name}'{did_you_mean(name, known) or there}"
        )
    return row


def list_schedules(session: Session, task: str, now: float) -> list[ScheduleRead]:
    """A task's schedules, by name. ``NotFound``: there is no such task."""
    tasks.require_task(session, task)
    query = select(ScheduleRow).where(ScheduleRow.task == task).order_by(ScheduleRow.name)
    return [schedule_read(session, row, now) for row in session.scalars(query).all()]


def drifts(session: Session, task: str) -> dict[str, DriftStanding]:
    """How far the data has drifted and may, by the name of each schedule of a task that goes by that."""
    query = select(ScheduleRow).where(ScheduleRow.task == task).order_by(ScheduleRow.name)
    found = {row.name: looks.drift_standing(session, row) for row in session.scalars(query).all()}
    return {name: one for name, one in found.items() if one is not None}


def next_firings(session: Session) -> dict[str, float]:
    """When a schedule of a task fires next by the clock, by task; of those that are paused none does."""
    query = (
        select(ScheduleRow.task, func.min(ScheduleRow.next_at))
        .where(ScheduleRow.paused_at.is_(None), ScheduleRow.next_at.is_not(None))
        .group_by(ScheduleRow.task)
    )
    return {task: at for task, at in session.execute(query) if at is not None}


def list_firings(session: Session, task: str, name: str, limit: int) -> list[FiringRead]:
    """The newest firings of a schedule, the newest first. ``NotFound``: there is no such schedule."""
    require_schedule(session, task, name)
    found = firing_rows.newest_firings(session, task, name, limit)
    return [read_as(FiringRead, one) for one in found]


def fire(session: Session, task: str, name: str, now: float) -> FiringRead:
    """Let a schedule fire now, even a paused one. One that waits for its run already stays as it is.

    Raises:
        NotFound: there is no such schedule.
        Conflict: a run is going on, and the schedule skips what comes meanwhile.
    """
    row = require_schedule(session, task, name)
    firing = firing_rows.waiting_firing(session, task, name)
    if firing is None:
        active = tasks.active_run(session, task)
        if active is not None and row.missed == "skip":
            raise Conflict(
                f"task '{task}' has run {active} going on, and schedule '{name}' skips what comes "
                "meanwhile: wait for the run, or set --missed once"
            )
        firing = firing_rows.add_firing(session, row, _BY_HAND, now, event_log.OPERATOR)
    beginning.begin_waiting(session, task, now)
    session.flush()
    return read_as(FiringRead, firing)


def pause(session: Session, task: str, name: str, because: str, now: float) -> ScheduleRead:
    """It fires no more by itself. A run of it goes on. Repeating is harmless."""
    row = require_schedule(session, task, name)
    if row.paused_at is None:
        reason = f": {because}" if because else ""
        on = f"'fedops schedule resume {task} {name}' lets it go on"
        words = f"paused by {event_log.named(event_log.OPERATOR)}{reason}; {on}"
        promotion.pause(session, row, words, now, event_log.OPERATOR)
    return schedule_read(session, row, now)


def resume(session: Session, task: str, name: str, now: float) -> ScheduleRead:
    """It fires again. Ticks that came meanwhile were none; other code or data counts. Repeatable."""
    row = require_schedule(session, task, name)
    if row.paused_at is not None:
        row.paused_at, row.paused_why, row.unpromoted = None, "", 0
        row.next_at = looks.first_tick(looks.trigger_of(row), now)
        _log(session, row, "schedule.resumed", "it fires again", now)
    return schedule_read(session, row, now)


def remove(session: Session, task: str, name: str, now: float) -> ScheduleRead:
    """Remove a schedule. A run of it goes on, and its version is not promoted. ``NotFound``: it is none."""
    row = require_schedule(session, task, name)
    waiting = firing_rows.waiting_firing(session, task, name)
    if waiting is not None:
        why, who = "the schedule was removed", event_log.OPERATOR
        firing_rows.end_firing(session, waiting, FiringStatus.STOPPED, why, now, who)
    _log(session, row, "schedule.removed", "it fires no more", now)
    was = schedule_read(session, row, now)
    session.delete(row)
    return was


def _log(session: Session, row: ScheduleRow, event: str, text: str, now: float) -> None:
    said = f"schedule '{row.name}': {text}"
    subject = f"task {row.task}"
    event_log.append_event(
        session, now, event_log.OPERATOR, subject, event, said, schedule=row.name
    )


# --- as it is read ---------------------------------------------------------------------------


def schedule_read(session: Session, row: ScheduleRow, now: float) -> ScheduleRead:
    """A schedule as it is shown."""
    session.flush()
    last = firing_rows.last_firing(session, row.task, row.name)
    trigger = looks.trigger_of(row)
    return read_as(
        ScheduleRead,
        row,
        trigger=trigger,
        promotion=looks.promotion_of(row),
        when=when_text(trigger),
        next_at=None if row.paused_at is not None else row.next_at,
        next=_next(session, row, last, now),
        last=None if last is None else read_as(FiringRead, last),
    )


def _next(session: Session, row: ScheduleRow, last: FiringRow | None, now: float) -> str:
    if row.paused_at is not None:
        return "paused"
    status = session.get_one(TaskRow, row.task).status
    if status is not TaskStatus.READY:
        return f"the task is {status.value}: nothing fires"
    if last is not None and last.status is FiringStatus.WAITING:
        return f"waits for its run: {last.outcome or 'about to begin'}"
    if last is not None and last.status is FiringStatus.RUNNING:
        return f"run {last.run_id} is going on"
    return _waits_for(row, now)


def _waits_for(row: ScheduleRow, now: float) -> str:
    trigger = looks.trigger_of(row)
    if row.next_at is not None:
        zone = trigger.zone if isinstance(trigger, Cron) else "UTC"
        at = datetime.fromtimestamp(row.next_at, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")
        return f"in {duration(max(row.next_at - now, 0.0))}: {at} {zone}"
    match trigger:
        case OnCommit():
            return "waits for other code"
        case OnNewData():
            return "waits for new data"
        case OnDrift():
            return "waits for drift"
        case OnDemand():
            return f"'fedops schedule fire {row.task} {row.name}'"
        case _:
            return ""


def look_at(session: Session, task: str, name: str, now: float) -> Look:
    """Whether a schedule is due; a paused one, or one of a task that takes no run, is not."""
    row = session.get(ScheduleRow, (task, name))
    if row is None or row.paused_at is not None:
        return Look()
    if session.get_one(TaskRow, task).status is not TaskStatus.READY:
        return Look()
    return looks.look(session, row, now)


def active_schedules(session: Session) -> list[tuple[str, str]]:
    """Task and name of those that may fire."""
    query = (
        select(ScheduleRow.task, ScheduleRow.name)
        .join(TaskRow, TaskRow.name == ScheduleRow.task)
        .where(ScheduleRow.paused_at.is_(None), TaskRow.status == TaskStatus.READY)
        .order_by(ScheduleRow.task, ScheduleRow.name)
    )
    return [(task, name) for task, name in session.execute(query)]


def take_note(session: Session, task: str, name: str, now: float) -> None:
    """Look once more, and keep what was found."""
    row = session.get(ScheduleRow, (task, name), with_for_update=True, populate_existing=True)
    if row is None:
        return
    found = look_at(session, task, name, now)
    if found.is_news:
        beginning.take_note(session, row, found, now)
