"""Tasks: what is to be learned, by which app, with which config."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedops.config.loading import to_plain
from fedops.config.overrides import apply_overrides, refuse_of_device
from fedops.config.schema import Config
from fedops.core.contracts import TaskConfig, TaskCreate, TaskRead, TaskUpdate
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.states import TASK_TRANSITIONS, TaskStatus
from fedops.server.assignments import assignments
from fedops.server.database import lookup
from fedops.server.database.compare_and_set import transition
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import MembershipRow, RunRow, TaskRow
from fedops.server.devices import availability
from fedops.server.devices.membership import renew_problems, tell_members
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.models import versions
from fedops.server.tasks import app_bundles
from fedops.server.tasks.draft_tasks import make_ready, require_app, waits_for


@dataclass(frozen=True)
class Planned:
    """What a task or a run is to use."""

    bundle: str
    config: dict[str, Any]


#: Reads the config that a stored app bundle (its sha256) holds.
ConfigOf = Callable[[str], Config]


def require_task(session: Session, name: str) -> TaskRow:
    """The task, or ``NotFound`` naming those there are."""
    row = session.get(TaskRow, name)
    if row is None:
        raise NotFound(lookup.unknown_task(session, name))
    return row


def any_task(session: Session, within: frozenset[str] | None = None) -> bool:
    """Whether there is a task, of all or of these."""
    query = select(TaskRow.name).limit(1)
    if within is not None:
        query = query.where(TaskRow.name.in_(within))
    return session.scalars(query).first() is not None


def create_task(session: Session, body: TaskCreate, config_of: ConfigOf, now: float) -> TaskRead:
    """A new task of an uploaded bundle."""
    planned = plan_task(session, body, config_of)
    row = _new_row(body, TaskStatus.READY, now, planned)
    return _insert(session, row, f"app bundle {planned.bundle[:12]}")


def create_draft(session: Session, body: TaskCreate, now: float) -> TaskRead:
    """A new task whose app comes from a source."""
    refuse_of_device(body.overrides)
    return _insert(
        session, _new_row(body, TaskStatus.DRAFT, now), "its first commit makes it ready"
    )


def _new_row(
    body: TaskCreate, status: TaskStatus, now: float, planned: Planned | None = None
) -> TaskRow:
    return TaskRow(
        name=body.name,
        status=status,
        description=body.description,
        bundle=planned.bundle if planned else None,
        overrides=body.overrides,
        config=planned.config if planned else {},
        created_at=now,
        updated_at=now,
    )


def _insert(session: Session, row: TaskRow, text: str) -> TaskRead:
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise Conflict(_taken(row.name)) from None
    subject, name = f"task {row.name}", f"task.{row.status.value}"
    event_log.append_event(session, row.created_at, event_log.OPERATOR, subject, name, text)
    tell_members(session, row.name)
    return task_read(session, row)


def plan_task(session: Session, body: TaskCreate, config_of: ConfigOf) -> Planned:
    """What a new task would use. Whatever is wrong with it is raised."""
    refuse_of_device(body.overrides)
    if body.bundle is None:
        raise Invalid("a task without a source is made of an app bundle")
    app_bundles.require_bundle(session, body.bundle)
    if session.get(TaskRow, body.name) is not None:
        raise Conflict(_taken(body.name))
    config = effective_config(config_of(body.bundle), body.overrides, body.name)
    return Planned(body.bundle, config)


def changes_app(session: Session, name: str, body: TaskUpdate) -> bool:
    """Whether later runs would use another app or config. A draft has none to be changed yet."""
    has_app = require_task(session, name).bundle is not None
    return body.bundle is not None or (has_app and body.overrides is not None)


def plan_update(session: Session, name: str, body: TaskUpdate, config_of: ConfigOf) -> Planned:
    """What a changed task would use. Whatever is wrong with it is raised."""
    row = require_task(session, name)
    _require_current(row)
    if body.bundle is not None:
        app_bundles.require_bundle(session, body.bundle)
    if body.overrides is not None:
        refuse_of_device(body.overrides)
    bundle = require_app(row) if body.bundle is None else body.bundle
    overrides = row.overrides if body.overrides is None else body.overrides
    if body.bundle is None and body.overrides is None:
        return Planned(bundle, row.config)
    return Planned(bundle, effective_config(config_of(bundle), overrides, name))


def _require_current(row: TaskRow) -> None:
    if row.status is TaskStatus.ARCHIVED:
        raise Conflict(
            f"task '{row.name}' is archived; 'fedops task unarchive {row.name}' takes it out again"
        )


def _taken(name: str) -> str:
    return (
        f"task '{name}' exists already; change it with 'fedops task update', or take another name"
    )


def effective_config(config: Config, overrides: Sequence[str], task: str) -> dict[str, Any]:
    """The config with overrides applied, for this task, as it may be stored and shown."""
    return {**to_plain(apply_overrides(config, overrides)), "task_id": task}


def update_task(
    session: Session, name: str, body: TaskUpdate, config_of: ConfigOf, now: float
) -> TaskRead:
    """Change what later runs will use. A run that goes on keeps what it began with."""
    row = require_task(session, name)
    if row.bundle is not None or body.bundle is not None:
        planned = plan_update(session, name, body, config_of)
        if row.bundle is None:
            make_ready(session, row, planned.bundle, planned.config, "it was given an app", now)
        row.bundle, row.config = planned.bundle, planned.config
    else:
        _require_current(row)
        refuse_of_device(body.overrides or [])
    if body.overrides is not None:
        row.overrides = body.overrides
    if body.description is not None:
        row.description = body.description
    row.updated_at = now
    changed = ", ".join(sorted(body.model_dump(exclude_none=True))) or "nothing"
    event_log.append_event(
        session, now, event_log.OPERATOR, f"task {name}", "task.updated", changed
    )
    session.flush()
    return task_read(session, row)


def archive_task(session: Session, name: str, now: float) -> TaskRead:
    """Put a task away: it keeps its runs and models and takes no new run. Repeating is harmless."""
    active = active_run(session, require_task(session, name).name)
    if active is not None:
        raise Conflict(
            f"task '{name}' has run {active} going on; stop it first ('fedops run stop {active}')"
        )
    assignments.cancel_benches(session, name, "the task was archived", now)
    return _move(session, name, TaskStatus.ARCHIVED, now)


def unarchive_task(session: Session, name: str, now: float) -> TaskRead:
    """Take an archived task out again: it takes runs and devices as before. Repeating is harmless."""
    has_app = require_task(session, name).bundle is not None
    return _move(session, name, TaskStatus.READY if has_app else TaskStatus.DRAFT, now)


def _move(session: Session, name: str, new: TaskStatus, now: float) -> TaskRead:
    row = require_task(session, name)
    before = transition(session, row, "status", TASK_TRANSITIONS, new, updated_at=now)
    if before is not None:
        change = Change(event_log.OPERATOR, "asked for", now)
        event_log.append_transition(session, change, f"task {name}", (before, new))
        renew_problems(session, name)
    return task_read(session, row)


def list_tasks(
    session: Session, *, open_only: bool = False, within: frozenset[str] | None = None
) -> list[TaskRead]:
    """All tasks, by name, or those within these. ``open_only``: but the archived ones."""
    query = select(TaskRow).order_by(TaskRow.name)
    if within is not None:
        query = query.where(TaskRow.name.in_(within))
    if open_only:
        query = query.where(TaskRow.status != TaskStatus.ARCHIVED)
    return [task_read(session, row) for row in session.scalars(query)]


def task_names(session: Session, within: frozenset[str] | None = None) -> list[str]:
    """The names of all tasks, or of those within these."""
    query = select(TaskRow.name).order_by(TaskRow.name)
    return list(session.scalars(query if within is None else query.where(TaskRow.name.in_(within))))


def read_task(session: Session, name: str) -> TaskRead:
    return task_read(session, require_task(session, name))


def overrides_of(session: Session, name: str) -> list[str]:
    """What a task changes of the config of its app."""
    return [*require_task(session, name).overrides]


def configs_of_device(session: Session, device_id: str) -> list[TaskConfig]:
    """What a device is to be ready for: of each task the config of the run that goes on, or its own."""
    going = and_(RunRow.task == TaskRow.name, RunRow.ended_at.is_(None))
    query = (
        select(TaskRow.name, TaskRow.config, RunRow.id, RunRow.config)
        .join(MembershipRow, MembershipRow.task == TaskRow.name)
        .outerjoin(RunRow, going)
        .where(MembershipRow.device_id == device_id, TaskRow.bundle.is_not(None))
        .order_by(TaskRow.name)
    )
    return [
        TaskConfig(task=name, run_id=run_id, config=own if run_id is None else of_run)
        for name, own, run_id, of_run in session.execute(query)
    ]


def active_run(session: Session, name: str) -> int | None:
    """The task's run that is not over, if there is one."""
    query = select(RunRow.id).where(RunRow.task == name, RunRow.ended_at.is_(None))
    return session.scalars(query).one_or_none()


def task_read(session: Session, row: TaskRow) -> TaskRead:
    """A task with what follows from its runs, devices and models."""
    why, stalled = waits_for(session, row)
    return read_as(
        TaskRead,
        row,
        bundle=row.bundle or "",
        why=why,
        stalled=stalled,
        devices=availability.task_device_names(session, row.name),
        active_run=active_run(session, row.name),
        latest_version=versions.aliases(session, row.name).get(versions.LATEST),
    )
