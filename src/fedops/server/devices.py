"""Devices: who is enrolled, what the server wants of each, who is there."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceInfo, DeviceRead
from fedops.core.errors import NotFound
from fedops.core.policies import call_interval, is_online, present_until
from fedops.core.states import RUN_TRAINING, Enrolment
from fedops.core.why import WorkFacts, device_why, span
from fedops.core.words import did_you_mean
from fedops.server import attempts, events, facts, models, open_work
from fedops.server.notices import DeviceGone, tell
from fedops.server.tables import AssignmentRow, DeviceRow, MembershipRow, RunRow, TaskRow

T = TypeVar("T")


# --- what the server wants -------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """What the server wants of a device, beside its work."""

    enrolment: Enrolment
    tasks: list[str]
    #: The runs that go on in them.
    runs: list[int]
    problems: list[str]

    @cached_property
    def digest(self) -> int:
        """The same for the same wishes, in every process. 48 bits."""
        said = json.dumps([self.enrolment.value, self.tasks, self.runs, self.problems])
        return int.from_bytes(hashlib.sha256(said.encode()).digest()[:6])


def wanted(session: Session, device_ids: Iterable[str]) -> dict[str, Wanted]:
    """What the server wants of devices, by id."""
    ids = sorted(set(device_ids))
    query = select(DeviceRow.id, DeviceRow.enrolment, DeviceRow.problems)
    rows = session.execute(query.where(DeviceRow.id.in_(ids))).all()
    tasks = _grouped(
        session,
        select(MembershipRow.device_id, MembershipRow.task)
        .where(MembershipRow.device_id.in_(ids))
        .order_by(MembershipRow.task),
    )
    runs = _grouped(
        session,
        select(MembershipRow.device_id, RunRow.id)
        .join(RunRow, RunRow.task == MembershipRow.task)
        .where(MembershipRow.device_id.in_(ids), RunRow.status.in_(RUN_TRAINING))
        .order_by(RunRow.id),
    )
    approved = {row.id for row in rows if row.enrolment is Enrolment.APPROVED}
    return {
        row.id: Wanted(
            enrolment=row.enrolment,
            tasks=tasks[row.id],
            runs=runs[row.id] if row.id in approved else [],
            problems=row.problems,
        )
        for row in rows
    }


def _grouped(session: Session, query: Select[str, T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for device_id, value in session.execute(query):
        found[device_id].append(value)
    return found


def tasks_of(session: Session, device_id: str) -> list[str]:
    """The tasks a device takes part in, by name."""
    query = select(MembershipRow.task).where(MembershipRow.device_id == device_id)
    return sorted(session.scalars(query))


# --- reading ---------------------------------------------------------------------------------


def require(session: Session, device: str) -> DeviceRow:
    """A device by name or id. ``NotFound`` names those there are."""
    query = select(DeviceRow).where(or_(DeviceRow.name == device, DeviceRow.id == device))
    row = session.scalars(query).first()
    if row is None:
        names = session.scalars(select(DeviceRow.name).order_by(DeviceRow.name)).all()
        raise NotFound(f"there is no device '{device}'{_known(device, names)}")
    return row


def _known(wanted: str, names: Sequence[str]) -> str:
    if not names:
        return "; none has joined yet ('fedops join' on a device)"
    return did_you_mean(wanted, names) or f"; there are: {', '.join(names[:20])}"


def listed(session: Session, now: float, task: str | None = None) -> list[DeviceRead]:
    """All devices, or those of a task, by name. ``NotFound`` when there is no such task."""
    if task is not None and session.get(TaskRow, task) is None:
        raise NotFound(models.unknown_task(session, task))
    tasks = facts.tasks_by_device(session)
    rows = session.scalars(select(DeviceRow).order_by(DeviceRow.name)).all()
    chosen = rows if task is None else [row for row in rows if task in tasks.get(row.id, [])]
    work = open_work.by_device(session)
    return [_read(row, tasks.get(row.id, []), work.get(row.id, []), now) for row in chosen]


def get(session: Session, device: str, now: float) -> DeviceRead:
    """One device, by name or id."""
    row = require(session, device)
    work = open_work.by_device(session, AssignmentRow.device_id == row.id)
    return _read(row, tasks_of(session, row.id), work.get(row.id, []), now)


def _read(row: DeviceRow, tasks: list[str], work: Sequence[WorkFacts], now: float) -> DeviceRead:
    found = facts.of_device(row, tasks, now, work)
    return DeviceRead(
        id=row.id,
        name=row.name,
        enrolment=row.enrolment,
        online=found.online,
        last_seen_at=row.last_heartbeat_at,
        last_seen_seconds=found.last_seen_seconds,
        tasks=tasks,
        process=found.process,
        info=DeviceInfo.model_validate(row.info),
        created_at=row.created_at,
        why=device_why(found),
    )


# --- coming and going ------------------------------------------------------------------------


def any_overdue(session: Session, now: float) -> bool:
    """Whether a device that was there has not called any Server Manager for too long."""
    late = (DeviceRow.present_until.is_(None)) | (DeviceRow.present_until <= now)
    query = select(DeviceRow.id).where(DeviceRow.noted_online, late).limit(1)
    return session.scalars(query).first() is not None


def forgive(session: Session, least_interval: float, now: float) -> None:
    """Who called a Server Manager that is gone has an interval's grace to call another one."""
    online = session.scalar(select(func.count()).where(DeviceRow.noted_online)) or 0
    until = present_until(now, call_interval(online, least_interval))
    later = func.greatest(DeviceRow.present_until, until)
    session.execute(update(DeviceRow).where(DeviceRow.noted_online).values(present_until=later))


def note_offline(session: Session, now: float) -> list[str]:
    """For the sweeper: log each device that went offline, once, and tell who waits for it."""
    gone = []
    for row in session.scalars(select(DeviceRow).where(DeviceRow.noted_online)).all():
        if is_online(row.present_until, now):
            continue
        row.noted_online = False
        seconds = now - (row.last_heartbeat_at or row.created_at)
        why = f"no call for {span(seconds)}"
        events.append(session, now, events.SWEEPER, f"device {row.name}", "device.offline", why)
        tell_gone(session, row, f"offline, {why}")
        gone.append(row.name)
    return gone


def tell_gone(session: Session, row: DeviceRow, why: str) -> None:
    """Nothing more will come from this device: whoever waits for it must hear."""
    waiting = tuple(attempts.of_device(session, row.id))
    tell(session, DeviceGone(row.id, row.name, waiting, why))
