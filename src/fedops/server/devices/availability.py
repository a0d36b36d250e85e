"""What is known of a device at a moment, and why it cannot be invited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import ProcessReport, Stage
from fedops.core.presence import is_online
from fedops.core.reasons.why import DeviceFacts, WorkFacts, unavailable
from fedops.core.states import PROCESS_READY, Enrolment, ProcessStatus
from fedops.server.database.tables import DeviceRow, MembershipRow
from fedops.server.devices.cloned_devices import PROBLEM as TWINS


def device_facts(
    row: DeviceRow | Member, tasks: Iterable[str], now: float, work: Sequence[WorkFacts] = ()
) -> DeviceFacts:
    """A device at ``now``."""
    seen = row.last_heartbeat_at
    return DeviceFacts(
        name=row.name,
        enrolment=row.enrolment,
        online=is_online(row.present_until, now),
        last_seen_seconds=None if seen is None else max(now - seen, 0.0),
        process=_at_work(process_of(row, now), work),
        tasks=tuple(tasks),
        problems=tuple(row.problems),
        work=tuple(work),
    )


def process_of(row: DeviceRow | Member, now: float) -> ProcessReport:
    """The training client as last reported, its time in this state counted on."""
    report = ProcessReport.model_validate(row.process)
    since = 0.0 if row.process_at is None else max(now - row.process_at, 0.0)
    return report.model_copy(update={"seconds_in_state": report.seconds_in_state + since})


def _at_work(report: ProcessReport, work: Iterable[WorkFacts]) -> ProcessReport:
    """The report with what the device says of its work, which comes sooner than the next report."""
    if report.status not in PROCESS_READY:
        return report
    one = next((w for w in work if w.stage in _STATUS_OF), None)
    status = _STATUS_OF[one.stage] if one else ProcessStatus.IDLE
    if status is report.status:
        return report
    values = {"status": status, "seconds_in_state": 0.0, "limit_seconds": None}
    where = {"task": one.task, "run_id": one.run_id, "round": one.round} if one else _NOWHERE
    return report.model_copy(update={**values, **where})


_STATUS_OF = {Stage.TRAINING: ProcessStatus.TRAINING, Stage.EVALUATING: ProcessStatus.EVALUATING}


_NOWHERE = {"task": None, "run_id": None, "round": None}


def idle_seconds(row: DeviceRow | Member, now: float) -> float:
    """How long the training client has had nothing in hand; 0 while it works."""
    process = process_of(row, now)
    return process.seconds_in_state if process.status is ProcessStatus.IDLE else 0.0


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


_MEMBER = tuple(getattr(DeviceRow, column.name) for column in fields(Member))


def task_devices(session: Session, task: str) -> list[Member]:
    """The approved devices of a task, by name."""
    query = (
        select(*_MEMBER)
        .join(MembershipRow, MembershipRow.device_id == DeviceRow.id)
        .where(MembershipRow.task == task, DeviceRow.enrolment == Enrolment.APPROVED)
        .order_by(DeviceRow.name)
    )
    return [Member(*row) for row in session.execute(query)]


def unavailable_because(
    row: DeviceRow | Member, task: str, refused: Mapping[str, str], now: float
) -> str | None:
    """Why a device cannot be invited to the next round of a run of ``task``, if it cannot."""
    return reason_against(device_facts(row, (task,), now), task, refused)


def reason_against(device: DeviceFacts, task: str, refused: Mapping[str, str]) -> str | None:
    if TWINS in device.problems:
        return TWINS
    return unavailable(device, task, refused.get(device.name))
