"""What is known of a device at a moment, and why it cannot be invited."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from fedops.core.contracts import ProcessReport, Stage
from fedops.core.delivery.groups import outside_group
from fedops.core.presence import is_online
from fedops.core.reasons.devices import DeviceFacts, unavailable
from fedops.core.reasons.work import WorkFacts
from fedops.core.states import (
    PROCESS_READY,
    PROCESS_WORKING,
    Enrolment,
    ProcessStatus,
    ReadinessStatus,
)
from fedops.server.database.tables import DeviceRow, MembershipRow
from fedops.server.devices.cloned_devices import PROBLEM as TWINS
from fedops.storage.shortages import shortages


def presence_facts(row: Attendance, now: float, work: Sequence[WorkFacts] = ()) -> DeviceFacts:
    """A device at ``now``, without what its training client does."""
    seen, unheard = row.last_heartbeat_at, shortages.unwritten_seconds
    return DeviceFacts(
        name=row.name,
        enrolment=Enrolment.APPROVED,
        online=is_online(row.present_until, now - unheard),
        unheard_seconds=unheard,
        lacking=_lacking(unheard),
        last_seen_seconds=None if seen is None else max(now - seen, 0.0),
        work=work,
    )


def device_facts(
    row: DeviceRow | Member, tasks: Iterable[str], now: float, work: Sequence[WorkFacts] = ()
) -> DeviceFacts:
    """A device at ``now``."""
    seen, unheard = row.last_heartbeat_at, shortages.unwritten_seconds
    return DeviceFacts(
        name=row.name,
        enrolment=row.enrolment,
        online=is_online(row.present_until, now - unheard),
        unheard_seconds=unheard,
        lacking=_lacking(unheard),
        last_seen_seconds=None if seen is None else max(now - seen, 0.0),
        process=process_of(row, now, work),
        tasks=tuple(tasks),
        problems=tuple(row.problems),
        tags=tuple(row.tags),
        work=tuple(work),
    )


def _lacking(unheard: float) -> str:
    """Why nobody who calls is noted."""
    shortage = shortages.current if unheard else None
    return shortage.short() if shortage else ""


def process_of(
    row: DeviceRow | Member, now: float, work: Sequence[WorkFacts] | None = None
) -> ProcessReport:
    """The training client as last reported, its time in this state counted on.

    ``work``: what the device says of its work, which comes sooner than the next report. None: leave it aside.
    """
    said = {**row.process}
    since = 0.0 if row.process_at is None else max(now - row.process_at, 0.0)
    said["seconds_in_state"] = said.get("seconds_in_state", 0.0) + since
    tried = [*said.get("readiness", []), *filter(None, [said.get("refusal")])]
    aged = [{**one, "seconds": one.get("seconds", 0.0) + since} for one in tried]
    if said.get("refusal"):
        said["refusal"] = aged.pop()
    said["readiness"] = aged
    if work is not None and said.get("status") in PROCESS_READY:
        said |= _at_work(said, work)
    return ProcessReport.model_validate(said)


def _at_work(said: Mapping[str, Any], work: Iterable[WorkFacts]) -> dict[str, Any]:
    """What is different of a report."""
    one = next((w for w in work if w.stage in _STATUS_OF), None)
    status = _STATUS_OF[one.stage] if one else ProcessStatus.IDLE
    if status == said["status"]:
        return {}
    where = {"task": one.task, "run_id": one.run_id, "round": one.round} if one else _NOWHERE
    return {"status": status, "seconds_in_state": 0.0, "limit_seconds": None, **where}


class BriefReport(NamedTuple):
    """Of what a training client reported, as much as a glance at its device needs."""

    status: ProcessStatus
    task: str | None
    #: The tasks that it refuses to train. None among them: whatever task it is.
    refused: tuple[str | None, ...]


def in_brief(report: str) -> BriefReport:
    """A report as it is stored, in JSON."""
    said = json.loads(report)
    refused = [
        one.get("task")
        for one in said.get("readiness", ())
        if one.get("status") == ReadinessStatus.REFUSED
    ]
    if refusal := said.get("refusal"):
        refused.append(refusal.get("task"))
    status = ProcessStatus(said.get("status", ProcessStatus.STOPPED))
    return BriefReport(status, said.get("task"), tuple(refused))


def doing(
    report: BriefReport, work: tuple[str, Stage] | None, within: Collection[str] | None
) -> tuple[ProcessStatus, bool]:
    """What the training client does, and whether it refuses to.

    ``work``: the task and the stage of what it works at. ``within``: of other tasks nothing is told
    (``narrowed``).
    """
    status, task, refused = report
    if status in PROCESS_READY:
        now_is = _STATUS_OF[work[1]] if work else ProcessStatus.IDLE
        if now_is is not status:
            status, task = now_is, work[0] if work else None
    if status in PROCESS_WORKING and not _told(task, within):
        status = ProcessStatus.IDLE
    return status, bool(refused) and any(_told(one, within) for one in refused)


def _told(task: str | None, within: Collection[str] | None) -> bool:
    return within is None or task is None or task in within


_STATUS_OF = {Stage.TRAINING: ProcessStatus.TRAINING, Stage.EVALUATING: ProcessStatus.EVALUATING}
#: A training client that is at these stages works.
WORK_STAGES = frozenset(_STATUS_OF)


_NOWHERE = {"task": None, "run_id": None, "round": None}


def evaluates_only(row: DeviceRow | Member) -> bool | None:
    """Whether a device has nothing to train on; None: it has not said so."""
    examples = training_examples(row)
    return None if examples is None else examples == 0


def training_examples(row: DeviceRow | Member) -> int | None:
    """How many examples a device says that it has to train on; None: it has not said so."""
    found: int | None = row.process.get("training_examples")
    return found


def idle_seconds(row: DeviceRow | Member, now: float) -> float:
    """How long the training client has had nothing in hand; 0 while it works."""
    process = process_of(row, now)
    return process.seconds_in_state if process.status is ProcessStatus.IDLE else 0.0


@dataclass(frozen=True, slots=True)
class Attendance:
    """Which device, and when it was heard."""

    id: str
    name: str
    last_heartbeat_at: float | None
    present_until: float | None


@dataclass(frozen=True, slots=True)
class Member:
    """What is looked at of a task's devices, of which there may be thousands: no ORM objects."""

    id: str
    name: str
    node_number: int
    enrolment: Enrolment
    last_heartbeat_at: float | None
    present_until: float | None
    process: dict[str, Any]
    process_at: float | None
    problems: list[str]
    tags: list[str]


_One = TypeVar("_One", Attendance, Member)


def task_devices(session: Session, task: str) -> list[Member]:
    """The approved devices of a task, by name."""
    return _of_task(session, task, Member)


def these_of_task(session: Session, task: str, ids: Sequence[str]) -> list[Member]:
    """Those of them that have these ids, by name."""
    return _of_task(session, task, Member, DeviceRow.id.in_(ids))


def heard_of_task(session: Session, task: str) -> list[Attendance]:
    """When each of them was heard, by name."""
    return _of_task(session, task, Attendance)


def task_device_names(session: Session, task: str) -> list[str]:
    """The names of the approved devices of a task, in order."""
    query = (
        select(DeviceRow.name)
        .join(MembershipRow, MembershipRow.device_id == DeviceRow.id)
        .where(MembershipRow.task == task, DeviceRow.enrolment == Enrolment.APPROVED)
        .order_by(DeviceRow.name)
    )
    return [*session.scalars(query)]


def task_attendance(
    session: Session, task: str, names: Sequence[str], now: float
) -> list[Attendance]:
    """Those of them that have these names or are away: who they are, and when they were heard."""
    away = or_(DeviceRow.present_until.is_(None), DeviceRow.present_until <= now)
    return _of_task(session, task, Attendance, or_(DeviceRow.name.in_(names), away))


def _of_task(
    session: Session, task: str, kind: type[_One], *where: ColumnElement[bool]
) -> list[_One]:
    columns = [getattr(DeviceRow, column.name) for column in fields(kind)]
    query = (
        select(*columns)
        .join(MembershipRow, MembershipRow.device_id == DeviceRow.id)
        .where(MembershipRow.task == task, DeviceRow.enrolment == Enrolment.APPROVED, *where)
        .order_by(DeviceRow.name)
    )
    return [kind(*row) for row in session.execute(query)]


def unavailable_because(
    row: DeviceRow | Member,
    task: str,
    refused: Mapping[str, str],
    now: float,
    group: Sequence[str] | None = None,
) -> str | None:
    """Why a device cannot be invited to the next round of a run of ``task``, if it cannot.

    ``group``: names or patterns of the devices that the run is for; none: it is for all.
    """
    return reason_against(device_facts(row, (task,), now), task, refused, group)


def reason_against(
    device: DeviceFacts,
    task: str,
    refused: Mapping[str, str],
    group: Sequence[str] | None = None,
) -> str | None:
    if (outside := outside_group(group, device.name, device.tags)) is not None:
        return outside
    if TWINS in device.problems:
        return TWINS
    return unavailable(device, task, refused.get(device.name))
