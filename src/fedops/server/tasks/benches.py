"""Benchmarks of a task's devices: asked for, given up, and how they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import (
    BENCH,
    BenchesRead,
    BenchLeftOut,
    BenchMeasured,
    BenchRead,
    BenchRequest,
    BlobRef,
)
from fedops.core.contracts.devices import BENCH_MODEL, MEASURES_SECONDS
from fedops.core.contracts.training import CONFIG
from fedops.core.errors import Conflict, NotFound
from fedops.core.reasons.devices import EVALUATES_ONLY
from fedops.core.reasons.durations import pluralised
from fedops.core.reasons.work import WorkFacts, working
from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus, Enrolment, TaskStatus
from fedops.core.suggestions import did_you_mean
from fedops.results import bench_estimate
from fedops.server.assignments import open_work, outside_runs
from fedops.server.assignments.instruction_rows import keep_instruction
from fedops.server.database.tables import (
    ArtifactRow,
    AssignmentRow,
    BenchRow,
    DeviceRow,
    ModelVersionRow,
    TaskRow,
)
from fedops.server.devices import availability
from fedops.server.devices.availability import Member
from fedops.server.devices.narrowed_view import without_others
from fedops.server.events import event_log
from fedops.server.events.notifications import WorkOffered, notify
from fedops.server.models import versions
from fedops.server.tasks.draft_tasks import draft_words
from fedops.server.tasks.tasks import require_task
from fedops.storage.payloads import Payload, make_document

_NAMED = 20


def start_benches(
    session: Session,
    task: str,
    body: BenchRequest,
    now: float,
    within: frozenset[str] | None = None,
) -> BenchesRead:
    """A benchmark for each device that is ready. One that goes on already stays.

    ``within``: the tasks of which whoever asks may hear, if these are not all.

    Raises:
        NotFound: there is no such task, or a device that is named takes no part in it.
        Conflict: the task is archived, or a draft.
    """
    row = require_task(session, task)
    if row.status is TaskStatus.DRAFT:
        raise Conflict(draft_words(task))
    if row.status is not TaskStatus.READY:
        raise Conflict(f"task '{task}' is {row.status.value}: its devices are asked for nothing")
    members = _chosen(availability.task_devices(session, task), task, body.devices)
    why_not = {one.name: _why_not(one, task, now) for one in members}
    able = [one for one in members if not why_not[one.name]]
    if able:
        _offer(session, row, able, body.fraction, now)
    left = [BenchLeftOut(device=name, reason=why) for name, why in why_not.items() if why]
    chosen = [one.id for one in able]
    return BenchesRead(task=task, benches=_list(session, task, chosen, within), left_out=left)


def list_benches(session: Session, task: str, within: frozenset[str] | None = None) -> BenchesRead:
    """The last benchmarks of a task's devices. ``NotFound``: there is no such task."""
    require_task(session, task)
    return BenchesRead(task=task, benches=_list(session, task, None, within))


def _chosen(members: Sequence[Member], task: str, wanted: Sequence[str]) -> list[Member]:
    known = {one.name: one for one in members}
    for name in wanted:
        if name not in known:
            there = f"; it has: {', '.join([*known][:_NAMED])}" if known else "; it has none yet"
            guess = did_you_mean(name, known) or there
            raise NotFound(f"task '{task}' has no approved device '{name}'{guess}")
    return [one for one in members if not wanted or one.name in wanted]


def _why_not(one: Member, task: str, now: float) -> str:
    if (reason := availability.unavailable_because(one, task, {}, now)) is not None:
        return reason
    return EVALUATES_ONLY if availability.evaluates_only(one) else ""


# --- offering --------------------------------------------------------------------------------


def _offer(
    session: Session, task: TaskRow, devices: Sequence[Member], fraction: float, now: float
) -> None:
    model = _newest_model(session, task.name)
    instruction = keep_instruction(session, None, _document(task, fraction, model), now)
    going = outside_runs.devices_at(session, BENCH, task.name)
    new = [
        outside_runs.assignment(BENCH, task.name, one.id, instruction, now)
        for one in devices
        if one.id not in going
    ]
    session.add_all(new)
    session.flush()
    for row in new:
        _note(session, row, fraction, now)
    session.flush()
    notify(session, WorkOffered(tuple(map(open_work.work_of, new))))
    text = f"{pluralised(len(new), 'device')}, a chunk of {fraction:.3g} of the examples"
    subject = f"task {task.name}"
    event_log.append_event(session, now, event_log.OPERATOR, subject, "task.bench", text)


def _newest_model(session: Session, task: str) -> BlobRef | None:
    """What devices of the task download: the newest version, or else the first model."""
    number = versions.newest_sound(session, task)
    row = session.get(ModelVersionRow, (task, number or 0))
    file = session.get(ArtifactRow, row.sha256) if row is not None else None
    return BlobRef(sha256=file.sha256, size=file.size) if file is not None else None


def _document(task: TaskRow, fraction: float, model: BlobRef | None) -> dict[str, Any]:
    told = {
        "config-json": json.dumps(task.config, sort_keys=True),
        "fraction": fraction,
        "seconds": MEASURES_SECONDS,
    }
    blobs: Mapping[str, tuple[BlobRef, list[str]]] = {BENCH_MODEL: (model, [])} if model else {}
    return make_document(Payload(configs={CONFIG: told}), blobs)


def _note(session: Session, row: AssignmentRow, fraction: float, now: float) -> None:
    bench = session.get(BenchRow, (row.task, row.device_id))
    if bench is None:
        bench = BenchRow(task=row.task, device_id=row.device_id)
        session.add(bench)
    bench.assignment, bench.status, bench.reason = row.id, row.status, ""
    bench.fraction, bench.asked_at = fraction, now


# --- how they are ----------------------------------------------------------------------------


def _list(
    session: Session, task: str, device_ids: Sequence[str] | None, within: frozenset[str] | None
) -> list[BenchRead]:
    query = (
        select(BenchRow, DeviceRow.name, AssignmentRow.status)
        .join(DeviceRow, DeviceRow.id == BenchRow.device_id)
        .outerjoin(AssignmentRow, AssignmentRow.id == BenchRow.assignment)
        .where(BenchRow.task == task, DeviceRow.enrolment != Enrolment.REMOVED)
        .order_by(DeviceRow.name)
    )
    if device_ids is not None:
        query = query.where(BenchRow.device_id.in_(device_ids))
    found = list(session.execute(query))
    open_ids = [row.device_id for row, _, status in found if status in ASSIGNMENT_OPEN]
    work = open_work.work_by_device(session, AssignmentRow.device_id.in_(open_ids))
    return [
        _read(row, name, status, without_others(work.get(row.device_id, []), within))
        for row, name, status in found
    ]


def _read(
    row: BenchRow, name: str, status: AssignmentStatus | None, work: Sequence[WorkFacts]
) -> BenchRead:
    measured = BenchMeasured.model_validate(row.measured) if row.measured else None
    is_open = status in ASSIGNMENT_OPEN
    return BenchRead(
        device=name,
        status=status if is_open and status else row.status,
        fraction=row.fraction,
        asked_at=row.asked_at,
        why=_doing(row.task, work) if is_open else row.reason,
        measured=measured,
        measured_at=row.measured_at,
        round_seconds=row.round_seconds,
        notes=bench_estimate.notes(measured) if measured else [],
    )


def _doing(task: str, work: Sequence[WorkFacts]) -> str:
    mine = next((one for one in work if one.kind == BENCH and one.task == task), None)
    return "" if mine is None else working(mine, [one for one in work if one is not mine])
