"""What a run would be if it were started now: its devices, bytes and time. Nothing is started or written."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean, median
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import (
    DeviceForecast,
    ParameterContract,
    ProcessReport,
    RunForecast,
    RunStart,
)
from fedops.core.reasons.plan import plan_text
from fedops.core.states import ParticipationStatus
from fedops.server.database.tables import (
    ArtifactRow,
    DeviceRow,
    ModelVersionRow,
    ParticipationRow,
    RoundRow,
    RunRow,
)
from fedops.server.devices.availability import task_devices, unavailable_because
from fedops.server.devices.running_commits import running_other_code
from fedops.server.runs import control, run_facts
from fedops.server.tasks import tasks
from fedops.server.tasks.tasks import Planned

#: So many of the newest participations, or rounds, of a task are looked at.
_LOOKED_AT = 2_000
_ROUNDS = 200


class _Seen(NamedTuple):
    """What a device did last in a task."""

    run_id: int
    examples: int | None


class _Sizes(NamedTuple):
    down: int | None
    up: int | None
    origin: str


class _Pace(NamedTuple):
    """How long rounds took, in which run, and what this run took before and after them."""

    seconds: float | None
    rounds: int
    run_id: int | None
    outside: float


def forecast_run(session: Session, task: str, body: RunStart, now: float) -> RunForecast:
    """The run, as far as it can be known. Refused is what ``start_run`` refuses, but not a busy task."""
    run = control.snapshot_run(session, tasks.require_task(session, task), body, now)
    plan = run_facts.run_plan(session, run, now)
    sizes, pace = _sizes(session, run), _pace(session, task)
    return RunForecast(
        task=task,
        plan=plan_text(plan),
        rounds=plan.rounds,
        asked=plan.wanted,
        counts_with=plan.counts_with,
        devices=_devices(session, run, now),
        seed=run.seed,
        bundle=run.bundle,
        from_version=run.from_version,
        config=run.config,
        bytes_down=sizes.down,
        bytes_up=sizes.up,
        bytes_from=sizes.origin,
        round_seconds=pace.seconds,
        measured_rounds=pace.rounds,
        measured_run=pace.run_id,
        outside_seconds=pace.outside,
    )


def plan_forecast(session: Session, task: str, body: RunStart, now: float) -> Planned:
    """What such a run would use."""
    run = control.snapshot_run(session, tasks.require_task(session, task), body, now)
    return Planned(run.bundle, run.config)


def _devices(session: Session, run: RunRow, now: float) -> list[DeviceForecast]:
    task = run.task
    seen, other_code = _last_seen(session, task), running_other_code(session, run)
    found = []
    for row in task_devices(session, task):
        told = ProcessReport.model_validate(row.process).training_examples
        last = seen.get(row.name)
        found.append(
            DeviceForecast(
                device=row.name,
                unavailable=unavailable_because(row, task, {}, now, run.devices)
                or other_code.get(row.name),
                examples=last.examples if last else told,
                examples_run=last.run_id if last else None,
            )
        )
    return found


def _last_seen(session: Session, task: str) -> Mapping[str, _Seen]:
    """What each device trained on last, by name."""
    query = (
        select(DeviceRow.name, ParticipationRow.run_id, ParticipationRow.examples)
        .join(DeviceRow, DeviceRow.id == ParticipationRow.device_id)
        .join(RunRow, RunRow.id == ParticipationRow.run_id)
        .where(RunRow.task == task, ParticipationRow.examples.is_not(None))
        .order_by(ParticipationRow.run_id.desc(), ParticipationRow.round.desc())
        .limit(_LOOKED_AT)
    )
    found: dict[str, _Seen] = {}
    for name, run_id, examples in session.execute(query):
        found.setdefault(name, _Seen(run_id, examples))
    return found


def _sizes(session: Session, run: RunRow) -> _Sizes:
    """Of what travels: as it was measured in the task's newest run of this model, else by its contract."""
    number = run.from_version if run.from_version is not None else 0
    version = session.get(ModelVersionRow, (run.task, number))
    if version is None:
        return _Sizes(None, None, "")
    down = session.get_one(ArtifactRow, version.sha256).size
    contract = ParameterContract.model_validate(version.contract)
    measured = _measured_up(session, run.task, contract)
    if measured is not None:
        return _Sizes(down, measured[0], f"measured in run {measured[1]}")
    return _Sizes(down, contract.federated_bytes, "the parameter contract, not compressed")


def _measured_up(
    session: Session, task: str, contract: ParameterContract
) -> tuple[int, int] | None:
    """The mean size of an update, and the run that it was seen in."""
    query = (
        select(RunRow, ParticipationRow.bytes_up)
        .join(ParticipationRow, ParticipationRow.run_id == RunRow.id)
        .where(RunRow.task == task, ParticipationRow.bytes_up.is_not(None))
        .where(ParticipationRow.status == ParticipationStatus.REPLIED)
        .order_by(RunRow.id.desc())
        .limit(_LOOKED_AT)
    )
    rows = session.execute(query).all()
    if not rows:
        return None
    newest = rows[0][0]
    theirs = ParameterContract.model_validate(newest.contract or {"parameters": ()})
    if theirs.fingerprint != contract.fingerprint:
        return None
    sizes = [size for run, size in rows if run.id == newest.id and size is not None]
    return round(fmean(sizes)), newest.id


def _pace(session: Session, task: str) -> _Pace:
    """The median time of the rounds of the newest run that has committed any, and asked devices to train."""
    query = (
        select(RunRow, RoundRow.seconds)
        .join(RunRow, RunRow.id == RoundRow.run_id)
        .where(RunRow.task == task, RoundRow.committed_at.is_not(None))
        .where(RunRow.rebuilds["of_run"].as_integer().is_(None))
        .where(RoundRow.seconds.is_not(None))
        .order_by(RoundRow.run_id.desc(), RoundRow.round.desc())
        .limit(_ROUNDS)
    )
    rows = session.execute(query).all()
    if not rows:
        return _Pace(None, 0, None, 0.0)
    newest = rows[0][0]
    seconds = [each for run, each in rows if run.id == newest.id and each is not None]
    return _Pace(median(seconds), len(seconds), newest.id, _outside(session, newest))


def _outside(session: Session, run: RunRow) -> float:
    """Before the run's first round and, once it is over, after its last."""
    times = select(func.min(RoundRow.started_at), func.max(RoundRow.committed_at))
    first, last = session.execute(times.where(RoundRow.run_id == run.id)).one()
    before = first - (run.started_at or run.created_at)
    after = run.ended_at - last if run.ended_at and last else 0.0
    return float(max(0.0, before) + max(0.0, after))
