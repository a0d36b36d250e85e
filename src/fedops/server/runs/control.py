"""Runs as operators start, stop, pause and resume them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedops.config.loading import parse_config
from fedops.config.overrides import refuse_of_device
from fedops.config.schema import Config
from fedops.core.contracts import RunStart
from fedops.core.errors import Conflict, Invalid, RunBusy
from fedops.core.reasons.durations import first_few
from fedops.core.states import RUN_TERMINAL, RUN_TRANSITIONS, RunStatus, TaskStatus
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import ModelVersionRow, RunRow, TaskRow
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import WorkForScheduler, notify
from fedops.server.models import quarantine, versions
from fedops.server.runs import stopping
from fedops.server.runs.transitions import transition_run
from fedops.server.tasks import app_bundles, tasks
from fedops.server.tasks.draft_tasks import draft_words
from fedops.server.tasks.tasks import Planned
from fedops.settings import ServerSettings

MAX_ROUNDS = 1_000_000
#: ``version``: what a run makes again; ``without``: whom; ``of_run``: whose last round it aggregates.
Rebuilds = dict[str, Any]


def rebuild_again(run: RunRow) -> str:
    """What to type where a run that aggregates a round again has not come to its end. Empty: it is none."""
    made = run.rebuilds
    if made is None or "of_run" not in made:
        return ""
    return f"'fedops model rebuild {run.task} V{made['version']} --without {made['without'][0]}'"


def left_out(rebuilds: Rebuilds | None) -> dict[str, str]:
    """Who may not take part in a run that makes a version again, with the reason."""
    if rebuilds is None:
        return {}
    why = f"left out: V{rebuilds['version']} is made again without it"
    return dict.fromkeys(rebuilds["without"], why)


def start_run(
    session: Session,
    task: str,
    body: RunStart,
    now: float,
    rebuilds: Rebuilds | None = None,
) -> int:
    """A new run of a task. ``RunBusy`` when it has one going on; one of racing starts wins.

    ``rebuilds``: the version that it makes again, and without whom.
    """
    row = require_startable_task(session, task)
    run = snapshot_run(session, row, body, now)
    run.rebuilds, run.refused = rebuilds, left_out(rebuilds)
    enqueue_run(session, run, beginning_of(run))
    return run.id


def beginning_of(run: RunRow) -> str:
    """``3 rounds from V2, seed 42``."""
    origin = f"V{run.from_version}" if run.from_version is not None else "a new initial model"
    whom = f", for {first_few(run.devices)}" if run.devices else ""
    return f"{run.rounds} rounds from {origin}, seed {run.seed}{whom}"


def plan_run(session: Session, task: str, body: RunStart, now: float) -> Planned:
    """What a new run would use. Whatever is wrong with it is raised."""
    run = snapshot_run(session, require_startable_task(session, task), body, now)
    return Planned(run.bundle, run.config)


def require_startable_task(session: Session, task: str) -> TaskRow:
    """The task, if it takes a new run now."""
    row = tasks.require_task(session, task)
    if row.status is TaskStatus.DRAFT:
        raise Conflict(draft_words(task))
    if row.status is not TaskStatus.READY:
        raise Conflict(
            f"task '{task}' is {row.status.value}: it takes no new run; 'fedops task unarchive {task}' "
            "takes it out again"
        )
    active = tasks.active_run(session, task)
    if active is not None:
        raise RunBusy(_busy(task, active))
    return row


def enqueue_run(session: Session, run: RunRow, why: str, who: str = event_log.OPERATOR) -> None:
    """Keep a new run, for the scheduler to begin. ``RunBusy`` when another came first."""
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError:
        raise RunBusy(_busy(run.task, tasks.active_run(session, run.task))) from None
    at, subject = run.created_at, f"run {run.id}"
    event_log.append_event(session, at, who, subject, "run.pending", why, run.id)
    notify(session, WorkForScheduler())


def _busy(task: str, run_id: int | None) -> str:
    which = f"run {run_id}" if run_id is not None else "a run"
    end = f" ('fedops run stop {run_id}')" if run_id is not None else ""
    return f"task '{task}' has {which} going on; a task has one active run: wait for it or stop it{end}"


def snapshot_run(session: Session, task: TaskRow, body: RunStart, now: float) -> RunRow:
    """All the run will use, fixed at its start. It is kept by ``enqueue_run``."""
    refuse_of_device(body.overrides)
    if body.bundle is not None:
        app_bundles.require_bundle(session, body.bundle)
    base = parse_config(body.config or task.config, f"the config of task '{task.name}'")
    plain = tasks.effective_config(base, body.overrides, task.name)
    bundle = body.bundle or task.bundle
    if bundle is None:
        raise Conflict(draft_words(task.name))
    config = parse_config(plain, "the effective config")
    origin = None if body.new_model else _origin(session, task.name, body.from_version)
    return RunRow(
        task=task.name,
        status=RunStatus.PENDING,
        status_since=now,
        bundle=bundle,
        config=plain,
        overrides=[*(task.overrides if body.config is None else ()), *body.overrides],
        seed=config.random_seed,
        rounds=rounds_of(config),
        committed_rounds=0,
        from_version=origin.version if origin else None,
        contract=origin.contract if origin else None,
        new_model=body.new_model,
        devices=body.devices or None,
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
        origin = versions.find_version(session, task, f"V{wanted}")
        quarantine.require_sound(origin, "no run starts from it")
        return origin
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
    session: Session,
    task: str | None,
    limit: int,
    within: frozenset[str] | None = None,
    *,
    before: int | None = None,
    status: RunStatus | None = None,
) -> list[int]:
    """The newest runs, of one task or all, or all within these; ``before``: older than this one."""
    query = select(RunRow.id).order_by(RunRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(RunRow.id < before)
    if status is not None:
        query = query.where(RunRow.status == status)
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    if task is not None:
        tasks.require_task(session, task)
        query = query.where(RunRow.task == task)
    return list(session.scalars(query))


def count_runs(session: Session) -> dict[str, int]:
    """How many runs are in each state."""
    counted = select(RunRow.status, func.count()).group_by(RunRow.status)
    found = dict.fromkeys((status.value for status in RunStatus), 0)
    return found | {status.value: count for status, count in session.execute(counted)}


def active_count(session: Session, within: frozenset[str] | None = None) -> int:
    """How many runs are not over, of all tasks or these."""
    query = select(RunRow.id).where(RunRow.ended_at.is_(None))
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    return len(session.scalars(query).all())
