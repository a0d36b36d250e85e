"""All tasks at a glance: a few queries for all of them, however many tasks and devices there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from fedops.core.states import Enrolment, TaskStatus
from fedops.server.database.tables import (
    AliasRow,
    DeviceRow,
    MembershipRow,
    ModelVersionRow,
    RunRow,
    TaskRow,
)
from fedops.server.tasks.draft_tasks import waits_for
from fedops.storage.shortages import shortages

#: So many of the newest versions of a task are looked at.
_VERSIONS = 40
SERVING = "serving"


@dataclass(frozen=True)
class TaskLine:
    """A task as a list shows it."""

    name: str
    status: TaskStatus
    description: str
    #: Of a draft: what it waits for.
    why: str
    #: Its approved devices, and how many of them are online.
    devices: int
    online: int
    active_run: int | None
    #: Numbers of versions; None: there is none.
    latest: int | None
    serving: int | None
    #: Of the newest versions that are not quarantined, the oldest first; None where it was not measured.
    accuracies: list[float | None]


def list_lines(session: Session, now: float, within: frozenset[str] | None) -> list[TaskLine]:
    """All tasks, or those within these: what goes on first, then by name; the archived ones last."""
    query = select(TaskRow).order_by(TaskRow.name)
    if within is not None:
        query = query.where(TaskRow.name.in_(within))
    devices, runs, versions = _devices(session, now), _active(session), _versions(session)
    serving = _serving(session)
    lines = []
    for row in session.scalars(query):
        made = versions.get(row.name, {})
        known, online = devices.get(row.name, (0, 0))
        lines.append(
            TaskLine(
                name=row.name,
                status=row.status,
                description=row.description,
                why=waits_for(session, row)[0],
                devices=known,
                online=online,
                active_run=runs.get(row.name),
                latest=max((number for number in made if number > 0), default=None),
                serving=serving.get(row.name),
                accuracies=[made[number] for number in sorted(made) if number > 0],
            )
        )
    return sorted(lines, key=_order)


def _order(line: TaskLine) -> tuple[bool, bool, str]:
    return line.status is TaskStatus.ARCHIVED, line.active_run is None, line.name


def _devices(session: Session, now: float) -> Mapping[str, tuple[int, int]]:
    there = DeviceRow.present_until > now - shortages.unwritten_seconds
    query = (
        select(MembershipRow.task, func.count(), func.sum(case((there, 1), else_=0)))
        .join(DeviceRow, DeviceRow.id == MembershipRow.device_id)
        .where(DeviceRow.enrolment == Enrolment.APPROVED)
        .group_by(MembershipRow.task)
    )
    return {task: (known, online) for task, known, online in session.execute(query)}


def _active(session: Session) -> Mapping[str, int]:
    query = select(RunRow.task, RunRow.id).where(RunRow.ended_at.is_(None))
    return {task: run_id for task, run_id in session.execute(query)}


def _versions(session: Session) -> Mapping[str, Mapping[int, float | None]]:
    """The accuracies of the newest sound versions, by task and number."""
    accuracy: Any = ModelVersionRow.metrics["accuracy"].as_float()
    query = (
        select(ModelVersionRow.task, ModelVersionRow.version, accuracy)
        .join(TaskRow, TaskRow.name == ModelVersionRow.task)
        .where(ModelVersionRow.version >= TaskRow.next_version - _VERSIONS)
        .where(ModelVersionRow.quarantined_at.is_(None))
    )
    found: dict[str, dict[int, float | None]] = defaultdict(dict)
    for task, number, value in session.execute(query):
        found[task][number] = value
    return found


def _serving(session: Session) -> Mapping[str, int]:
    query = select(AliasRow.task, AliasRow.version).where(AliasRow.name == SERVING)
    return {task: version for task, version in session.execute(query)}
