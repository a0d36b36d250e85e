"""Runs that go on where another ended: more rounds (extend), or the rest of its rounds (retry).

The new run counts its rounds on from there, so that it draws the seeds, and follows the schedules, that one
long run would have.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from fedops.config.loading import parse_config
from fedops.config.overrides import refuse_of_device
from fedops.config.schema import Config
from fedops.core.contracts import RunExtend, RunRetry
from fedops.core.errors import Conflict
from fedops.core.reasons.durations import pluralised
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import ModelVersionRow, RoundRow, RunRow, TaskRow
from fedops.server.models import quarantine
from fedops.server.runs import control
from fedops.server.tasks import tasks
from fedops.server.tasks.tasks import Planned


def extend(session: Session, run_id: int, body: RunExtend, now: float) -> int:
    """A new run that adds rounds to one that is over. ``Conflict`` while it goes on."""
    return _begin(session, *_extension(session, run_id, body, now), "extends")


def plan_extension(session: Session, run_id: int, body: RunExtend, now: float) -> Planned:
    """What such a run would use. Whatever is wrong with it is raised."""
    _, run = _extension(session, run_id, body, now)
    return Planned(run.bundle, run.config)


def _extension(session: Session, run_id: int, body: RunExtend, now: float) -> tuple[RunRow, RunRow]:
    """The parent, and the new run."""
    parent = require_run(session, run_id)
    if parent.status not in RUN_TERMINAL:
        raise Conflict(
            f"run {parent.id} is {parent.status.value}: only a run that is over can be extended"
        )
    overrides = [*body.overrides, f"num_rounds={parent.committed_rounds + body.rounds}"]
    return parent, _new(session, parent, overrides, body.current_app, now)


def retry(session: Session, run_id: int, body: RunRetry, now: float) -> int:
    """A new run that does what is left of one that failed or was stopped."""
    return _begin(session, *_repetition(session, run_id, body, now), "retries")


def plan_retry(session: Session, run_id: int, body: RunRetry, now: float) -> Planned:
    """What such a run would use. Whatever is wrong with it is raised."""
    _, run = _repetition(session, run_id, body, now)
    return Planned(run.bundle, run.config)


def _repetition(session: Session, run_id: int, body: RunRetry, now: float) -> tuple[RunRow, RunRow]:
    """The parent, and the new run."""
    parent = require_run(session, run_id)
    if parent.status is RunStatus.COMPLETED:
        raise Conflict(
            f"run {parent.id} is completed: there is nothing to retry; "
            f"'fedops run extend {parent.id} --rounds N' adds rounds"
        )
    if parent.status not in RUN_TERMINAL:
        raise Conflict(
            f"run {parent.id} is {parent.status.value}: "
            "only a run that is failed or stopped can be retried"
        )
    if again := control.rebuild_again(parent):
        raise Conflict(f"run {parent.id} aggregated a round again, and has no other: {again}")
    run = _new(session, parent, body.overrides, body.current_app, now)
    if not body.overrides and not body.current_app:
        run.study = parent.study  # it takes its place there
    return parent, run


def _new(
    session: Session, parent: RunRow, overrides: Sequence[str], current_app: bool, now: float
) -> RunRow:
    task = control.require_startable_task(session, parent.task)
    return _successor(session, parent, task if current_app else None, overrides, now)


def _begin(session: Session, parent: RunRow, run: RunRow, what: str) -> int:
    left = pluralised(run.rounds - run.committed_rounds, "round")
    text = f"{what} run {parent.id} after round {parent.committed_rounds}: {left}"
    if run.start_model and run.start_state is None and _checkpoint(session, parent)[1]:
        text += "; the strategy is another one and begins without state"
    control.enqueue_run(session, run, text)
    return run.id


def _successor(
    session: Session, parent: RunRow, app: TaskRow | None, overrides: Sequence[str], now: float
) -> RunRow:
    """All of the parent but what is overridden, from where it ended."""
    refuse_of_device(overrides)
    _require_sound(session, parent)
    base = parse_config(parent.config, f"the config of run {parent.id}")
    plain = tasks.effective_config(base, overrides, parent.task)
    config = parse_config(plain, "the effective config")
    model, state = _checkpoint(session, parent)
    return RunRow(
        task=parent.task,
        status=RunStatus.PENDING,
        status_since=now,
        bundle=app.bundle if app else parent.bundle,
        config=plain,
        overrides=[*parent.overrides, *overrides],
        seed=config.random_seed,
        rounds=_rounds(parent, config),
        committed_rounds=parent.committed_rounds,
        first_round=parent.committed_rounds + 1,
        start_model=model,
        start_state=state if config.server.strategy == base.server.strategy else None,
        from_version=parent.from_version if parent.version is None else parent.version,
        contract=parent.contract,
        dataset=parent.dataset,
        parent=parent.id,
        rebuilds=parent.rebuilds if _trains_anew(parent) else None,
        new_model=parent.new_model,
        devices=parent.devices,
        refused=control.left_out(parent.rebuilds) if _trains_anew(parent) else {},
        metrics=parent.metrics if model else {},
        created_at=now,
    )


def _trains_anew(parent: RunRow) -> bool:
    """Whether it makes a version again with devices that train: those left out stay so."""
    return parent.rebuilds is not None and "of_run" not in parent.rebuilds


def _require_sound(session: Session, parent: RunRow) -> None:
    if parent.version is not None:
        made = session.get_one(ModelVersionRow, (parent.task, parent.version))
        quarantine.require_sound(made, f"run {parent.id} is not gone on from")


def _rounds(parent: RunRow, config: Config) -> int:
    rounds = control.rounds_of(config)
    if rounds <= parent.committed_rounds:
        raise Conflict(
            f"run {parent.id} has {parent.committed_rounds} committed rounds, and "
            f"num_rounds = {rounds} leaves none to do; "
            f"'fedops run extend {parent.id} --rounds N' adds rounds"
        )
    return rounds


def _checkpoint(session: Session, run: RunRow) -> tuple[str | None, str | None]:
    """The model and the strategy's state after a run's last committed round; None: it made none."""
    if run.committed_rounds < run.first_round:
        return run.start_model, run.start_state
    if run.version is not None:  # it stays even when checkpoints of rounds are cleared away
        version = session.get_one(ModelVersionRow, (run.task, run.version))
        return version.sha256, version.strategy_state
    last = session.get_one(RoundRow, (run.id, run.committed_rounds))
    return last.model, last.strategy_state
