"""Devices: who is enrolled, what the server wants of each, who is there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Text, and_, cast, func, select
from sqlalchemy.orm import Session

from fedops import __version__
from fedops.core.contracts import DeviceInfo, DeviceRead, Stage
from fedops.core.delivery.groups import in_group
from fedops.core.errors import NotFound
from fedops.core.presence import is_online
from fedops.core.reasons.devices import device_why
from fedops.core.reasons.releases import other_release
from fedops.core.reasons.work import WorkFacts
from fedops.core.states import Enrolment, ProcessStatus, ReadinessStatus
from fedops.server.assignments import open_work
from fedops.server.database import lookup
from fedops.server.database.lookup import require_device
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import AssignmentRow, DeviceRow, MembershipRow, TaskRow
from fedops.server.devices import availability, membership
from fedops.server.devices.availability import in_brief
from fedops.server.devices.membership import tasks_of_device
from fedops.server.devices.narrowed_view import narrowed
from fedops.server.events import event_log
from fedops.storage.shortages import shortages

ONLINE, OFFLINE = "online", "offline"
#: A device that was removed is none.
_KEPT = tuple(one for one in Enrolment if one not in (Enrolment.APPROVED, Enrolment.REMOVED))
STATES = (ONLINE, OFFLINE, *(one.value for one in _KEPT))
#: What matters most about a device, beside what its enrolment and its training client are called.
LOST, NEVER, REFUSED = "lost", "never seen", "refused"


class DeviceGlance(NamedTuple):
    """What devices are found and ordered by, of which there may be thousands."""

    id: str
    name: str
    enrolment: Enrolment
    online: bool
    #: What matters most about it, in one word (``state_of``).
    state: str
    tags: tuple[str, ...]


def list_devices(
    session: Session,
    now: float,
    task: str | None = None,
    within: frozenset[str] | None = None,
) -> list[DeviceRead]:
    """All devices but removed ones, or those of a task, by name. ``NotFound``: there is no such task.

    ``within``: show what is of these tasks, and nothing else.
    """
    if task is not None and session.get(TaskRow, task) is None:
        raise NotFound(lookup.unknown_task(session, task))
    there = DeviceRow.enrolment != Enrolment.REMOVED
    rows = session.scalars(select(DeviceRow).where(there).order_by(DeviceRow.name)).all()
    tasks, work = membership.tasks_by_device(session), open_work.work_by_device(session)
    chosen = rows if task is None else [row for row in rows if task in tasks.get(row.id, [])]
    if within is not None:
        chosen = [row for row in chosen if not within.isdisjoint(tasks.get(row.id, []))]
    return [_read(row, tasks.get(row.id, []), work.get(row.id, []), now, within) for row in chosen]


def these_devices(
    session: Session, ids: Sequence[str], now: float, within: frozenset[str] | None = None
) -> dict[str, DeviceRead]:
    """The devices with these ids, by id."""
    tasks = membership.tasks_by_device(session, MembershipRow.device_id.in_(ids))
    work = open_work.work_by_device(session, AssignmentRow.device_id.in_(ids))
    rows = session.scalars(select(DeviceRow).where(DeviceRow.id.in_(ids)))
    return {
        row.id: _read(row, tasks.get(row.id, []), work.get(row.id, []), now, within) for row in rows
    }


def glance_at_devices(
    session: Session, now: float, within: frozenset[str] | None = None
) -> list[DeviceGlance]:
    """The same devices as ``list_devices`` without why they are as they are, which takes longer to tell."""
    at_work = open_work.at_work(session, availability.WORK_STAGES)
    mine = None if within is None else membership.members(session, within)
    heard, one = now - shortages.unwritten_seconds, DeviceRow
    query = (
        select(one.id, one.name, one.enrolment, one.present_until, one.last_heartbeat_at)
        .add_columns(cast(one.process, Text), cast(one.tags, Text))
        .where(one.enrolment != Enrolment.REMOVED)
        .order_by(one.name)
    )
    found = []
    for id_, name, enrolment, until, seen_at, report, tags in session.execute(query):
        if mine is not None and id_ not in mine:
            continue
        online, never = is_online(until, heard), seen_at is None
        state = _state_by(report, at_work.get(id_), within, enrolment, online, never)
        found.append(DeviceGlance(id_, name, enrolment, online, state, _tags(tags)))
    return found


@lru_cache(maxsize=8_192)
def _state_by(
    report: str,
    work: tuple[str, Stage] | None,
    within: frozenset[str] | None,
    enrolment: Enrolment,
    online: bool,
    never: bool,
) -> str:
    """The same by what is stored. Most of a thousand devices are as they were a moment ago."""
    doing, refuses = availability.doing(in_brief(report), work, within)
    return _state(enrolment, online, never, doing, refuses)


@lru_cache(maxsize=8_192)
def _tags(stored: str) -> tuple[str, ...]:
    return tuple(json.loads(stored))


def state_of(device: DeviceRead) -> str:
    """What matters most about a device, in one word."""
    process = device.process
    refuses = any(one.status is ReadinessStatus.REFUSED for one in process.readiness)
    return _state(
        device.enrolment,
        device.online,
        device.last_seen_at is None,
        process.status,
        refuses or process.refusal is not None,
    )


def _state(
    enrolment: Enrolment,
    online: bool,
    never: bool,
    doing: ProcessStatus,
    refuses: bool,
) -> str:
    if enrolment is not Enrolment.APPROVED:
        return enrolment.value
    if not online:
        return NEVER if never else LOST
    return REFUSED if doing is ProcessStatus.IDLE and refuses else doing.value


def read_device(
    session: Session, device: str, now: float, within: frozenset[str] | None = None
) -> DeviceRead:
    """One device, by name or id."""
    row = require_device(session, device)
    work = open_work.work_by_device(session, AssignmentRow.device_id == row.id)
    return _read(row, tasks_of_device(session, row.id), work.get(row.id, []), now, within)


def count_devices(session: Session, now: float) -> dict[str, int]:
    """By state: approved devices are online or offline, all others as they were decided on."""
    until = now - shortages.unwritten_seconds
    here = and_(DeviceRow.present_until.is_not(None), DeviceRow.present_until > until)
    found = dict.fromkeys(STATES, 0)
    rows = session.execute(
        select(DeviceRow.enrolment, here, func.count())
        .where(DeviceRow.enrolment != Enrolment.REMOVED)
        .group_by(DeviceRow.enrolment, here)
    )
    for enrolment, online, count in rows:
        approved = enrolment is Enrolment.APPROVED
        found[(ONLINE if online else OFFLINE) if approved else enrolment.value] += count
    return found


def arrived_with(session: Session, token_id: int, limit: int, now: float) -> list[DeviceRead]:
    """The devices that joined with a join token, the newest first."""
    query = select(DeviceRow.id).where(DeviceRow.joined_with == token_id)
    ids = session.scalars(query.order_by(DeviceRow.created_at.desc()).limit(limit)).all()
    return [read_device(session, id_, now) for id_ in ids]


def names_meant(session: Session, words: Sequence[str]) -> list[str]:
    """The approved devices that these words mean: names, patterns of names, or tags (``tag:ward``).

    ``NotFound``: a word means none; of a plain name it is said as ever.
    """
    approved = DeviceRow.enrolment == Enrolment.APPROVED
    known = session.execute(select(DeviceRow.name, DeviceRow.tags).where(approved)).all()
    found: dict[str, None] = {}
    for word in words:
        meant = [name for name, tags in known if in_group([word], name, tags)]
        if not meant:
            is_name = set(word).isdisjoint("*?[:")
            meant = [require_device(session, word).name] if is_name else []
        if not meant:
            raise NotFound(f"no device is meant by '{word[:80]}'")
        found.update(dict.fromkeys(meant))
    return list(found)


def other_releases(session: Session, limit: int) -> list[str]:
    """Approved devices that have another release of FedOps than the server, by name."""
    approved = DeviceRow.enrolment == Enrolment.APPROVED
    query = select(DeviceRow.name, DeviceRow.info).where(approved).order_by(DeviceRow.name)
    found = (
        name
        for name, info in session.execute(query)
        if other_release(str(info.get("fedops", "")), __version__)
    )
    return list(islice(found, limit))


def note_new_credential(session: Session, device_id: str, now: float) -> None:
    """Its credential was replaced by a new one."""
    subject = f"device {session.get_one(DeviceRow, device_id).name}"
    event_log.append_event(session, now, subject, subject, "device.credential_renewed")


def _read(
    row: DeviceRow,
    tasks: list[str],
    work: Sequence[WorkFacts],
    now: float,
    within: frozenset[str] | None,
) -> DeviceRead:
    found = narrowed(availability.device_facts(row, tasks, now, work), within)
    found = replace(found, quarantine=(row.quarantine or {}).get("because", ""))
    return read_as(
        DeviceRead,
        row,
        online=found.online,
        last_seen_at=row.last_heartbeat_at,
        last_seen_seconds=found.last_seen_seconds,
        tasks=list(found.tasks),
        process=found.process,
        info=(info := DeviceInfo.model_validate(row.info)),
        other_release=other_release(info.fedops, __version__),
        why=device_why(found),
    )
