"""A version made again without a device: by its last round, of the updates that are kept, or by a new run.

Both are runs. One that aggregates again begins with its only round, which was begun and whose updates are
all delivered: its engine takes it over as it would from an earlier attempt, and asks nobody to train.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from fedops.core.contracts import Rebuild, RunStart
from fedops.core.errors import Conflict
from fedops.core.reasons.durations import pluralised
from fedops.core.states import AssignmentStatus, Enrolment, ParticipationStatus, RunStatus
from fedops.server.assignments import open_work
from fedops.server.database.lookup import require_device, require_run
from fedops.server.database.tables import (
    AssignmentRow,
    DeviceRow,
    ModelVersionRow,
    ParticipationRow,
    RoundRow,
    RunRow,
)
from fedops.server.models import touched, versions
from fedops.server.runs import control
from fedops.server.runs.device_quarantine import rounds_text
from fedops.server.runs.run_facts import numbers_of_round
from fedops.server.tasks.tasks import Planned

#: What was delivered is here: this is only how long the engine may take to read it. Seconds.
_READING_SECONDS = 600.0


@dataclass(frozen=True)
class _Part:
    """A device whose answer counted in the round."""

    device_id: str
    name: str
    trusted: bool
    trained: bool
    participation: ParticipationRow


@dataclass(frozen=True)
class _Round:
    """What is kept of a round, so that it can be aggregated again."""

    run: RunRow
    number: int
    model: str
    state: str | None
    parts: list[_Part]
    results: list[AssignmentRow]
    without: list[str]


@dataclass(frozen=True)
class Plan:
    """How a version is to be made again, and why so."""

    text: str
    again: _Round | None = None
    #: Else: from which version a run starts, without whom, and what of the task it uses.
    start: RunStart | None = None
    without: tuple[str, ...] = ()


def plan_rebuild(session: Session, task: str, version: str, body: Rebuild) -> Plan:
    """What a rebuild would do. ``Conflict`` when there is nothing to make again."""
    row = versions.find_version(session, task, version)
    device = require_device(session, body.without)
    touches = {touch.run_id: touch for touch in touched.touched_by(session, device.id)}
    touch = touches.get(row.run_id or 0) if row.version > 0 else None
    if row.run_id is None or touch is None:
        raise Conflict(f"no update of device '{device.name}' is in V{row.version} of task '{task}'")
    run = require_run(session, row.run_id)
    earlier = [number for number in touch.rounds if number != row.round]
    stays = [f"{rounds_text(earlier)} of run {run.id}"] if earlier else []
    stays += [touch.began_from] if touch.began_from else []
    if body.last_round or not stays:
        found = _kept(session, run, row.round, device)
        if isinstance(found, _Round):
            return Plan(_text_of(found, device.name, stays), again=found)
        why = found
        if body.last_round:
            raise Conflict(f"round {row.round} of run {run.id} cannot be aggregated again: {why}")
    else:
        why = f"its updates are in {' and '.join(stays)} too, and would stay in it"
    before = _last_before(session, row, {(t.task, t.version) for t in touches.values()})
    text = f"trains anew from V{before}, the last version without updates of {device.name}: {why}"
    return Plan(text, start=RunStart(from_version=before), without=(device.name,))


def _text_of(found: _Round, device: str, stays: Sequence[str]) -> str:
    kept = pluralised(sum(part.trained for part in found.parts), "device")
    others = [name for name in found.without if name != device]
    text = (
        f"aggregates round {found.number} of run {found.run.id} again of the kept updates of {kept}"
    )
    text += f", without {device}"
    text += (
        f" and without {', '.join(others)} (not trusted or not enrolled any more)" if others else ""
    )
    if stays:
        text += f"; updates of {device} stay in it by {' and '.join(stays)}"
    return text


def _last_before(session: Session, row: ModelVersionRow, found: set[tuple[str, int | None]]) -> int:
    """The newest version that this one came from, that is neither touched nor quarantined."""
    number = row.parent or 0
    while number > 0:
        before = session.get_one(ModelVersionRow, (row.task, number))
        if (row.task, number) not in found and before.quarantined_at is None:
            return number
        number = before.parent or 0
    return 0


# --- what is kept ----------------------------------------------------------------------------


def _kept(session: Session, run: RunRow, number: int, device: DeviceRow) -> _Round | str:
    """The round without a device, or why it cannot be had."""
    model, state = _before(session, run, number)
    if model is None:
        return f"the model that round {number} of run {run.id} began from is not kept any more"
    replied = _replied(session, run.id, number)
    parts = [part for part in replied if part.trusted and part.device_id != device.id]
    left = sum(part.trained for part in parts)
    _, needed = numbers_of_round(run, left)
    if left < needed:
        return f"without it the round has {pluralised(left, 'update')}, and it counts with {needed}"
    rows = _results(session, run.id, number)
    if missing := sorted(part.name for part in parts if part.device_id not in rows):
        return f"the updates of round {number} of run {run.id} are not kept any more ({missing[0]})"
    names = sorted(part.name for part in replied if part not in parts and part.name != device.name)
    results = [row for part in parts for row in rows[part.device_id]]
    return _Round(run, number, model, state, parts, results, [device.name, *names])


def _before(session: Session, run: RunRow, number: int) -> tuple[str | None, str | None]:
    """The model and the strategy's state that a round began from. None: not kept."""
    if number > run.first_round:
        row = session.get_one(RoundRow, (run.id, number - 1))
        return (None, None) if row.pruned_at is not None else (row.model, row.strategy_state)
    if run.start_model is not None:
        return run.start_model, run.start_state
    version = session.get_one(ModelVersionRow, (run.task, run.from_version or 0))
    return version.sha256, None


def _replied(session: Session, run_id: int, number: int) -> list[_Part]:
    round_ = session.get_one(RoundRow, (run_id, number))
    query = (
        select(ParticipationRow, DeviceRow.name, DeviceRow.enrolment)
        .join(DeviceRow, DeviceRow.id == ParticipationRow.device_id)
        .where(ParticipationRow.run_id == run_id, ParticipationRow.round == number)
        .where(ParticipationRow.attempt == round_.attempt)
        .where(ParticipationRow.status == ParticipationStatus.REPLIED)
        .order_by(DeviceRow.name)
    )
    return [
        _Part(row.device_id, name, state is Enrolment.APPROVED, bool(row.examples), row)
        for row, name, state in session.execute(query)
    ]


def _results(session: Session, run_id: int, number: int) -> dict[str, list[AssignmentRow]]:
    """What was taken in the round and is kept still, by device."""
    query = select(AssignmentRow).where(
        AssignmentRow.run_id == run_id,
        AssignmentRow.round == number,
        AssignmentRow.status == AssignmentStatus.CHECKED,
        AssignmentRow.pruned_at.is_(None),
        ~open_work.FOR_SCORES,
    )
    found: dict[str, list[AssignmentRow]] = {}
    for row in session.scalars(query.order_by(AssignmentRow.device_id, AssignmentRow.kind)):
        found.setdefault(row.device_id, []).append(row)
    return found


# --- doing it --------------------------------------------------------------------------------


def planned_run(session: Session, task: str, version: str, body: Rebuild, now: float) -> Planned:
    """What the run would use. Whatever is wrong with it is raised."""
    control.require_startable_task(session, task)
    plan = plan_rebuild(session, task, version, body)
    if plan.again is not None:
        return Planned(plan.again.run.bundle, plan.again.run.config)
    return control.plan_run(session, task, plan.start or RunStart(), now)


def rebuild(
    session: Session, task: str, version: str, body: Rebuild, now: float
) -> tuple[int, Plan]:
    """Begin to make a version again. Returns the run that does it, and how."""
    control.require_startable_task(session, task)
    number = versions.find_version(session, task, version).version
    plan = plan_rebuild(session, task, version, body)
    if plan.again is not None:
        return _aggregate_again(session, plan.again, number, plan.text, now), plan
    assert plan.start is not None
    rebuilds = {"version": number, "without": list(plan.without)}
    return control.start_run(session, task, plan.start, now, rebuilds), plan


def _aggregate_again(session: Session, found: _Round, version: int, text: str, now: float) -> int:
    run = _run_of(found, version, now)
    control.enqueue_run(session, run, text)
    session.add(
        RoundRow(
            run_id=run.id,
            round=found.number,
            attempt=0,
            begun=1,
            begun_from=found.model,
            started_at=now,
            timing={},
            metrics={},
            client_metrics={},
            train_metrics={},
        )
    )
    session.flush()
    session.add_all(_selected(run.id, part.participation) for part in found.parts)
    session.add_all(_delivered(run.id, row, now) for row in found.results)
    session.flush()
    return run.id


def _run_of(found: _Round, version: int, now: float) -> RunRow:
    """All of the run that made the version, up to its last round."""
    old = found.run
    return RunRow(
        task=old.task,
        status=RunStatus.PENDING,
        status_since=now,
        bundle=old.bundle,
        config=old.config,
        overrides=old.overrides,
        seed=old.seed,
        rounds=found.number,
        committed_rounds=found.number - 1,
        first_round=found.number,
        start_model=found.model,
        start_state=found.state,
        from_version=old.from_version,
        contract=old.contract,
        dataset=old.dataset,
        parent=old.id,
        new_model=old.new_model,
        rebuilds={"version": version, "of_run": _asked_by(old), "without": found.without},
        refused={},
        metrics={},
        created_at=now,
    )


def _asked_by(run: RunRow) -> int:
    """The run that the updates of its last round say they are for."""
    return int((run.rebuilds or {}).get("of_run", run.id))


def _selected(run_id: int, part: ParticipationRow) -> ParticipationRow:
    return ParticipationRow(
        run_id=run_id,
        round=part.round,
        attempt=0,
        device_id=part.device_id,
        status=ParticipationStatus.SELECTED,
        selection=part.selection,
        metrics={},
    )


def _delivered(run_id: int, row: AssignmentRow, now: float) -> AssignmentRow:
    """The same result, not checked yet, for another run."""
    values = {a.key: getattr(row, a.key) for a in inspect(AssignmentRow).column_attrs}
    return AssignmentRow(
        **{
            **values,
            "id": uuid.uuid4().hex,
            "run_id": run_id,
            "attempt": 0,
            "status": AssignmentStatus.UPLOADED,
            "deadline_at": now + _READING_SECONDS,
            "ended_at": None,
        }
    )
