"""Runs as operators start, stop, pause and resume them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedops.config.loading import parse_config
from fedops.config.overrides import refuse_of_device
from fedops.config.schema import Config
from fedops.core.contracts import RunStart
from fedops.core.errors import Conflict, Invalid, RunBusy
from fedops.core.states import RUN_TERMINAL, RUN_TRANSITIONS, RunStatus, TaskStatus
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import ModelVersionRow, RunRow, TaskRow
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import WorkForScheduler, notify
from fedops.server.models import versions
from fedops.server.runs import stopping
from fedops.server.runs.transitions import transition_run
from fedops.server.tasks import tasks
from fedops.server.tasks.tasks import Planned
from fedops.settings import ServerSettings

MAX_ROUNDS = 1_000_000


def start_run(session: Session, task: str, body: RunStart, now: float) -> int:
    """A new run of a task. ``RunBusy`` when it has one going on; one of racing starts wins."""
    row = require_startable_task(session, task)
    run = _snapshot(session, row, body, now)
    origin = f"V{run.from_version}" if run.from_version is not None else "a new initial model"
    enqueue_run(session, run, f"{run.rounds} rounds from {origin}, seed {run.seed}")
    return run.id


def plan_run(session: Session, task: str, body: RunStart, now: float) -> Planned:
    """What a new run would use. Whatever is wrong with it is raised."""
    run = _snapshot(session, require_startable_task(session, task), body, now)
    return Planned(run.bundle, run.config)


def require_startable_task(session: Session, task: str) -> TaskRow:
    """The task, if it takes a new run now."""
    row = tasks.require_task(session, task)
    if row.status is not TaskStatus.READY:
        raise Conflict(f"task '{task}' is {row.status.value}: it takes no new run")
    active = tasks.active_run(session, task)
    if active is not None:
        raise RunBusy(_busy(task, active))
    return row


def enqueue_run(session: Session, run: RunRow, why: str) -> None:
    """Keep a new run, for the scheduler to begin. ``RunBusy`` when another came first."""
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError:
        raise RunBusy(_busy(run.task, tasks.active_run(session, run.task))) from None
    at, subject = run.created_at, f"run {run.id}"
    event_log.append_event(session, at, event_log.OPERATOR, subject, "run.pending", why, run.id)
    notify(session, WorkForScheduler())


def _busy(task: str, run_id: int | None) -> str:
    which = f"run {run_id}" if run_id is not None else "a run"
    return f"task '{task}' has {which} going on; a task has one active run: wait for it or stop it"


def _snapshot(session: Session, task: TaskRow, body: RunStart, now: float) -> RunRow:
    """All the run will use, fixed at its start."""
    refuse_of_device(body.overrides)
    base = parse_config(task.config, f"the config of task '{task.name}'")
    plain = tasks.effective_config(base, body.overrides, task.name)
    config = parse_config(plain, "the effective config")
    origin = _origin(session, task.name, body.from_version)
    return RunRow(
        task=task.name,
        status=RunStatus.PENDING,
        status_since=now,
        bundle=task.bundle,
        config=plain,
        overrides=[*task.overrides, *body.overrides],
        seed=config.random_seed,
        rounds=rounds_of(config),
        from_version=origin.version if origin else None,
        contract=origin.contract if origin else None,
        refused={},
        metrics={},
        created_at=now,
    )


def rounds_of(config: Config) -> int:
    """How many rounds a run of this config has."""
    if config.num_rounds > MAX_ROUNDS:
        raise Invalid(f"num_rounds = {config.num_rounds}: at most {MAX_ROUNDS} rounds in a run")
    return config.num_rounds


def _origin(session: Session, task: str, wanted: int | None) -> ModelVersionRow | None:
    """The version to start from: the one asked for, else ``latest``, else V0, else none yet."""
    if wanted is not None:
        return versions.find_version(session, task, f"V{wanted}")
    latest = versions.aliases(session, task).get(versions.LATEST, 0)
    return session.get(ModelVersionRow, (task, latest))


def request_stop(session: Session, run_id: int, settings: ServerSettings, now: float) -> None:
    """Stop a run: at once when nothing was started, else once engine and devices are quiet."""
    run = require_run(session, run_id)
    if run.status in RUN_TERMINAL:
        raise Conflict(f"run {run.id} is {run.status.value} already")
    who, why = event_log.OPERATOR, "stopped by the operator"
    if run.status is RunStatus.PENDING:
        transition_run(session, run, RunStatus.STOPPED, Change(who, why, now))
    elif transition_run(session, run, RunStatus.STOPPING, Change(who, why, now)):
        stopping.finish_stopping(session, run, settings, now)


def request_pause(session: Session, run_id: int, settings: ServerSettings, now: float) -> None:
    """Pause a run: at once when nothing was started, else once engine and devices are quiet. Repeatable."""
    run = require_run(session, run_id)
    if run.status in (RunStatus.PAUSING, RunStatus.PAUSED):
        return
    who, why = event_log.OPERATOR, "paused by the operator"
    if run.status is RunStatus.PENDING:
        transition_run(session, run, RunStatus.PAUSED, Change(who, why, now))
        return
    _require_edge(run, RunStatus.PAUSING, "paused")
    transition_run(session, run, RunStatus.PAUSING, Change(who, why, now))
    stopping.finish_stopping(session, run, settings, now)


def request_resume(session: Session, run_id: int, now: float) -> None:
    """Let a paused run go on, with a new attempt from its last committed round. Repeatable."""
    run = require_run(session, run_id)
    if run.status is RunStatus.RESUMING:
        return
    if run.status is not RunStatus.PAUSED:
        raise Conflict(_not_now(run, "resumed", [RunStatus.PAUSED]))
    who, why = event_log.OPERATOR, "resumed by the operator"
    transition_run(session, run, RunStatus.RESUMING, Change(who, why, now), lost_in_a_row=0)


def _require_edge(run: RunRow, new: RunStatus, what: str) -> None:
    if new not in RUN_TRANSITIONS[run.status]:
        able = [state for state, after in RUN_TRANSITIONS.items() if new in after]
        raise Conflict(_not_now(run, what, able))


def _not_now(run: RunRow, what: str, able: list[RunStatus]) -> str:
    states = " or ".join(state.value for state in able)
    return f"run {run.id} is {run.status.value}: only a run that is {states} can be {what}"


def run_ids(
    session: Session, task: str | None, limit: int, within: frozenset[str] | None = None
) -> list[int]:
    """The newest runs, of one task or all, or all within these."""
    query = select(RunRow.id).order_by(RunRow.id.desc()).limit(limit)
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    if task is not None:
        tasks.require_task(session, task)
        query = query.where(RunRow.task == task)
    return list(session.scalars(query))


def active_count(session: Session, within: frozenset[str] | None = None) -> int:
    """How many runs are not over, of all tasks or these."""
    query = select(RunRow.id).where(RunRow.ended_at.is_(None))
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    return len(session.scalars(query).all())
