"""The devices of a task as its page shows them: those that need somebody first, and why."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from fedops.core.presence import is_online
from fedops.server.devices import availability
from fedops.server.devices.availability import Member
from fedops.server.devices.narrowed_view import narrowed
from fedops.server.devices.registry import LOST, NEVER
from fedops.storage.shortages import shortages


@dataclass(frozen=True)
class TaskMember:
    """A device of a task."""

    id: str
    name: str
    #: "lost", "never seen", or what its training client does.
    state: str
    #: Why it could not be asked now; "": it could.
    why: str


@dataclass(frozen=True)
class TaskMembers:
    """How many devices a task has, how many of them are online, and the first ones."""

    known: int
    online: int
    shown: list[TaskMember]


def read_members(
    session: Session, task: str, now: float, within: frozenset[str] | None, limit: int
) -> TaskMembers:
    """The approved devices of a task: lost ones, those that never called, the others; each by name.

    ``within``: the tasks of which whoever asks may hear, if these are not all.
    """
    heard = now - shortages.unwritten_seconds
    found = availability.heard_of_task(session, task)
    online = {one.id for one in found if is_online(one.present_until, heard)}
    ordered = sorted(found, key=lambda one: (one.id in online, one.last_heartbeat_at is None))
    first = [one.id for one in ordered[:limit]]
    members = {one.id: one for one in availability.these_of_task(session, task, first)}
    shown = [_read(members[id_], task, now, within) for id_ in first]
    return TaskMembers(len(found), len(online), shown)


def _read(one: Member, task: str, now: float, within: frozenset[str] | None) -> TaskMember:
    facts = narrowed(availability.device_facts(one, (task,), now), within)
    state = facts.process.status.value
    if not facts.online:
        state = NEVER if one.last_heartbeat_at is None else LOST
    why = availability.reason_against(facts, task, {}) or ""
    return TaskMember(one.id, one.name, state, why)
