"""Studies: runs of a task that differ in their seed alone, begun one after another.

A study holds all that its runs use, fixed when it is started. Its next run begins when the task is free.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import RunStart, StudyRead, StudyStart
from fedops.core.errors import FedOpsError, NotFound, RunBusy
from fedops.core.reasons.durations import pluralised
from fedops.core.seeds import study_seeds
from fedops.core.states import RunStatus, TaskStatus
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import RunRow, StudyRow, TaskRow
from fedops.server.events import event_log
from fedops.server.events.notifications import WorkForScheduler, notify
from fedops.server.runs import control, views
from fedops.server.tasks import tasks
from fedops.server.tasks.tasks import Planned
from fedops.settings import ServerSettings

ALL_BEGUN = "all of its runs have begun"


def start_study(session: Session, task: str, body: StudyStart, now: float) -> int:
    """A new study, with its first run. ``RunBusy`` when the task has a run going on."""
    row = control.require_startable_task(session, task)
    first = control.snapshot_run(session, row, _run_of(body), now)
    seeds = study_seeds(first.seed, body.seeds) if isinstance(body.seeds, int) else body.seeds
    study = StudyRow(
        task=task,
        seeds=list(seeds),
        bundle=first.bundle,
        config=first.config,
        overrides=first.overrides,
        from_version=first.from_version,
        created_at=now,
    )
    session.add(study)
    session.flush()
    text = f"{pluralised(len(seeds), 'run')} of task {task}, seeds {', '.join(map(str, seeds))}"
    _log(session, study, "study.started", text, now)
    _begin_run(session, study, row, now)
    return study.id


def plan_study(session: Session, task: str, body: StudyStart, now: float) -> Planned:
    """What its runs would use. Whatever is wrong with it is raised."""
    return control.plan_run(session, task, _run_of(body), now)


def _run_of(body: StudyStart) -> RunStart:
    version = body.from_version
    return RunStart(overrides=body.overrides, from_version=version, new_model=version is None)


def due_studies(session: Session) -> list[int]:
    """Studies whose next run may begin now, or that are to be closed."""
    busy = select(RunRow.task).where(RunRow.ended_at.is_(None))
    query = (
        select(StudyRow.id)
        .where(StudyRow.closed_at.is_(None), StudyRow.task.not_in(busy))
        .order_by(StudyRow.id)
    )
    return list(session.scalars(query))


def continue_study(session: Session, study_id: int, now: float) -> None:
    """Begin its next run, or close it when somebody stopped one of its runs. Repeatable."""
    study = _require(session, study_id)
    task = session.get_one(TaskRow, study.task)
    if study.closed_at is not None or tasks.active_run(session, study.task) is not None:
        return
    if stopped := _stopped_run(session, study.id):
        _close(session, study, f"run {stopped} was stopped", now)
    elif task.status is not TaskStatus.READY:
        _close(session, study, f"task '{task.name}' is {task.status.value}", now)
    else:
        _try_next(session, study, task, now)


def _try_next(session: Session, study: StudyRow, task: TaskRow, now: float) -> None:
    """A run that cannot even begin ends the study: those after it could not either."""
    try:
        with session.begin_nested():
            _begin_run(session, study, task, now)
    except RunBusy:  # somebody started another run just now
        return
    except FedOpsError as error:
        _close(session, study, f"its next run cannot begin: {error.message}", now)


def _begin_run(session: Session, study: StudyRow, task: TaskRow, now: float) -> None:
    seed = study.seeds[study.begun]
    body = RunStart(
        overrides=[f"random_seed={seed}"],
        from_version=study.from_version,
        new_model=study.from_version is None,
        config=study.config,
        bundle=study.bundle,
    )
    run = control.snapshot_run(session, task, body, now)
    run.study, run.overrides = study.id, [*study.overrides, *body.overrides]
    study.begun += 1
    place = f"{study.begun} of {len(study.seeds)} of study {study.id}"
    control.enqueue_run(session, run, f"{place}: {control.beginning_of(run)}")
    if study.begun == len(study.seeds):
        study.closed_at, study.text = now, ALL_BEGUN


def stop_study(session: Session, study_id: int, settings: ServerSettings, now: float) -> None:
    """Begin no more of its runs, and stop the one that goes on. Repeating is harmless."""
    study = _require(session, study_id)
    if study.closed_at is None:
        _close(session, study, "stopped by the operator", now, event_log.OPERATOR)
    query = select(RunRow.id).where(RunRow.study == study.id, RunRow.ended_at.is_(None))
    for run_id in session.scalars(query).all():
        control.request_stop(session, run_id, settings, now)


def _close(
    session: Session, study: StudyRow, why: str, now: float, who: str = event_log.SERVER
) -> None:
    study.closed_at, study.text = now, why
    left = ", ".join(str(seed) for seed in study.seeds[study.begun :])
    _log(session, study, "study.closed", f"{why}; no run of the seeds {left}", now, who)


def _log(
    session: Session,
    study: StudyRow,
    name: str,
    text: str,
    now: float,
    who: str = event_log.OPERATOR,
) -> None:
    event_log.append_event(session, now, who, f"study {study.id}", name, text)
    notify(session, WorkForScheduler())


def _stopped_run(session: Session, study_id: int) -> int | None:
    """The first of its runs that was stopped and not retried since."""
    retried = select(RunRow.parent).where(RunRow.study == study_id, RunRow.parent.is_not(None))
    return session.scalar(
        select(func.min(RunRow.id))
        .where(RunRow.study == study_id, RunRow.status == RunStatus.STOPPED)
        .where(RunRow.id.not_in(retried))
    )


def read_study(
    session: Session,
    study_id: int,
    settings: ServerSettings,
    now: float,
    within: frozenset[str] | None = None,
) -> StudyRead:
    """A study and its runs, oldest first. ``within``: of other tasks nothing is told."""
    study = _require(session, study_id)
    runs = list(session.scalars(select(RunRow.id).where(RunRow.study == study.id)))
    shown = views.read_runs(session, runs, settings, now, within)
    return read_as(StudyRead, study, runs=shown[::-1])


def study_ids(
    session: Session, task: str | None, limit: int, within: frozenset[str] | None = None
) -> Sequence[int]:
    """The newest studies, of one task or all, or all within these."""
    query = select(StudyRow.id).order_by(StudyRow.id.desc()).limit(limit)
    if within is not None:
        query = query.where(StudyRow.task.in_(within))
    if task is not None:
        tasks.require_task(session, task)
        query = query.where(StudyRow.task == task)
    return session.scalars(query).all()


def _require(session: Session, study_id: int) -> StudyRow:
    study = session.get(StudyRow, study_id)
    if study is None:
        raise NotFound(
            f"there is no study {study_id}; 'fedops run show RUN' names the study of a run"
        )
    return study
