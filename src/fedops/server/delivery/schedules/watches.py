"""Devices are asked to look at their data, where a schedule goes by that, and no oftener than it says."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import WATCH, BlobRef, OnDrift, OnNewData, Trigger
from fedops.core.contracts.schedules import WATCH_MODEL
from fedops.core.contracts.training import CONFIG
from fedops.core.delivery.groups import in_group
from fedops.core.states import TaskStatus
from fedops.server.assignments import open_work, outside_runs
from fedops.server.assignments.instruction_rows import keep_instruction
from fedops.server.database.tables import (
    ArtifactRow,
    DataRow,
    ModelVersionRow,
    RunRow,
    ScheduleRow,
    TaskRow,
)
from fedops.server.delivery.schedules import device_data
from fedops.server.delivery.schedules.looks import trigger_of
from fedops.server.devices import availability
from fedops.server.events.notifications import WorkOffered, notify
from fedops.server.tasks import tasks
from fedops.storage.payloads import Payload, make_document

#: So many devices of a task are asked at a time: they do not all come at once.
AT_ONCE = 100


@dataclass(frozen=True)
class Wish:
    """What the schedules of a task want to know of its devices' data."""

    task: str
    #: Of these devices; []: of all.
    group: tuple[str, ...]
    seconds: float
    #: Whether the inputs are compared with those of before, and whether the model is evaluated.
    compares: bool
    evaluates: bool


def wishes(session: Session) -> list[Wish]:
    """By task, what is wanted of devices that have no run to work for."""
    busy = select(RunRow.task).where(RunRow.ended_at.is_(None))
    query = (
        select(ScheduleRow)
        .join(TaskRow, TaskRow.name == ScheduleRow.task)
        .where(TaskRow.status == TaskStatus.READY, ScheduleRow.task.not_in(busy))
        .where(ScheduleRow.paused_at.is_(None))
        .order_by(ScheduleRow.task, ScheduleRow.name)
    )
    found: dict[str, list[tuple[ScheduleRow, OnNewData | OnDrift]]] = defaultdict(list)
    for row in session.scalars(query):
        trigger: Trigger = trigger_of(row)
        if isinstance(trigger, OnNewData | OnDrift):
            found[row.task].append((row, trigger))
    return [_wish(task, rows) for task, rows in found.items()]


def _wish(task: str, rows: Sequence[tuple[ScheduleRow, OnNewData | OnDrift]]) -> Wish:
    for_all = any(not row.devices for row, _ in rows)
    return Wish(
        task=task,
        group=() if for_all else tuple(sorted({one for row, _ in rows for one in row.devices})),
        seconds=min(trigger.look_seconds for _, trigger in rows),
        compares=any(isinstance(one, OnDrift) for _, one in rows),
        evaluates=any(isinstance(one, OnDrift) and one.metric for _, one in rows),
    )


def due_devices(session: Session, wish: Wish, now: float) -> list[str]:
    """The ids of the devices that could look now, and have not for long enough."""
    version = _version(session, wish)
    columns = select(DataRow.device_id, DataRow.asked_version, DataRow.asked_at)
    found_rows = session.execute(columns.where(DataRow.task == wish.task))
    asked = {device_id: (asked_of, at) for device_id, asked_of, at in found_rows}
    at_it = outside_runs.devices_at(session, WATCH, wish.task)
    found = []
    for one in availability.task_devices(session, wish.task):
        row = asked.get(one.id)
        long_ago = row is None or row[0] != version or _is_due(row[1], wish, now)
        if one.id in at_it or not long_ago or not in_group(wish.group, one.name, one.tags):
            continue
        if availability.unavailable_because(one, wish.task, {}, now) is None:
            found.append(one.id)
    return found[:AT_ONCE]


def _is_due(asked_at: float, wish: Wish, now: float) -> bool:
    return now - asked_at >= wish.seconds or asked_at > now  # the clock was set back


def _version(session: Session, wish: Wish) -> int:
    """Which version the devices are asked about."""
    if not wish.compares:
        return device_data.NO_VERSION
    return device_data.watched_version(session, wish.task)


def offer_looks(session: Session, wish: Wish, now: float) -> None:
    """Ask the devices that are due. Repeatable."""
    if tasks.active_run(session, wish.task) is not None:
        return
    due = due_devices(session, wish, now)
    if not due:
        return
    version = _version(session, wish)
    document = _document(session, wish, version)
    instruction = keep_instruction(session, None, document, now)
    new = [outside_runs.assignment(WATCH, wish.task, one, instruction, now) for one in due]
    session.add_all(new)
    session.flush()
    for made in new:
        row = session.get(DataRow, (wish.task, made.device_id))
        if row is None:
            row = DataRow(task=wish.task, device_id=made.device_id, problem="")
            session.add(row)
        row.assignment, row.asked_at, row.asked_version = made.id, now, version
    session.flush()
    notify(session, WorkOffered(tuple(map(open_work.work_of, new))))


def _document(session: Session, wish: Wish, version: int) -> dict[str, Any]:
    """What a device is told: whose data, what to compare, and which model to evaluate."""
    task = session.get_one(TaskRow, wish.task)
    row = session.get(ModelVersionRow, (wish.task, version)) if version >= 0 else None
    run = session.get(RunRow, row.run_id) if row is not None and row.run_id is not None else None
    told: dict[str, Any] = {
        "config-json": json.dumps(run.config if run else task.config, sort_keys=True),
        "version": version,
        "compares": wish.compares,
    }
    blobs: Mapping[str, tuple[BlobRef, list[str]]] = {}
    if row is not None and wish.evaluates:
        file = session.get_one(ArtifactRow, row.sha256)
        ref = BlobRef(sha256=file.sha256, size=file.size)
        blobs = {WATCH_MODEL: (ref, [])}
        told["contract-json"] = json.dumps(row.contract, sort_keys=True)
        told["round"], told["run-id"] = row.round, row.run_id or 0
        told["dataset"] = (run.dataset if run else None) or ""
    return make_document(Payload(configs={CONFIG: told}), blobs)
