"""Which devices take part in which tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from fedops.core.states import TaskStatus
from fedops.core.suggestions import did_you_mean
from fedops.server.assignments import assignments
from fedops.server.database.tables import DeviceRow, MembershipRow, TaskRow
from fedops.server.devices.cloned_devices import PROBLEM
from fedops.server.events import event_log
from fedops.server.events.notifications import DeviceChanged, notify


def tasks_of_device(session: Session, device_id: str) -> list[str]:
    """The tasks a device takes part in, by name."""
    query = select(MembershipRow.task).where(MembershipRow.device_id == device_id)
    return sorted(session.scalars(query))


def tasks_by_device(session: Session, *where: ColumnElement[bool]) -> dict[str, list[str]]:
    """The tasks each device takes part in, by device id; ``where``: of these memberships."""
    found: dict[str, list[str]] = defaultdict(list)
    query = select(MembershipRow.device_id, MembershipRow.task).where(*where)
    for device_id, task in session.execute(query.order_by(MembershipRow.task)):
        found[device_id].append(task)
    return found


def tasks_with_devices(session: Session, within: frozenset[str] | None = None) -> list[str]:
    """The tasks that any device takes part in, by name. ``within``: of these tasks alone."""
    query = select(MembershipRow.task).distinct().order_by(MembershipRow.task)
    return list(session.scalars(query if within is None else query.where(_of_tasks(within))))


def members(session: Session, tasks: Collection[str]) -> frozenset[str]:
    """The ids of the devices that take part in any of these tasks."""
    return frozenset(session.scalars(select(MembershipRow.device_id).where(_of_tasks(tasks))))


def _of_tasks(tasks: Collection[str]) -> ColumnElement[bool]:
    return MembershipRow.task.in_(tasks)


def tell_members(session: Session, task: str) -> None:
    """What the server wants of the task's devices has changed."""
    query = select(MembershipRow.device_id).where(MembershipRow.task == task)
    notify(session, *(DeviceChanged(device) for device in session.scalars(query)))


def renew_problems(session: Session, task: str) -> None:
    """A task's state changed: its devices hear of it though they say nothing new themselves."""
    now_is = membership_problems(session, [task])
    query = select(DeviceRow).join(MembershipRow, MembershipRow.device_id == DeviceRow.id)
    for row in session.scalars(query.where(MembershipRow.task == task)):
        others = [text for text in row.problems if not text.startswith(f"task '{task}' is ")]
        if row.problems != [*others, *now_is]:
            row.problems = [*others, *now_is]
    session.flush()
    tell_members(session, task)


def membership_problems(session: Session, names: Sequence[str]) -> list[str]:
    """What is wrong with the tasks a device asks for: one sentence each."""
    rows = {row.name: row for row in session.scalars(select(TaskRow))}
    ready = sorted(name for name, row in rows.items() if row.status is TaskStatus.READY)
    there = "the server's tasks: " + ", ".join(ready) if ready else "the server has no task yet"
    found = []
    for name in names:
        if name not in rows:
            guess = did_you_mean(name, ready)
            found.append(f"there is no task '{name}' on the server{guess or ''} ({there})")
        elif rows[name].status is TaskStatus.DRAFT:
            found.append(f"task '{name}' is a draft: its first commit is being checked")
        elif rows[name].status is not TaskStatus.READY:
            found.append(f"task '{name}' is {rows[name].status.value}")
    return found


def enter_tasks(
    session: Session, row: DeviceRow, wanted: list[str], now: float, twins: bool
) -> bool:
    """Make the device a member of exactly the tasks it asks for, as far as that can be.

    Whether that changed anything.
    """
    current = set(tasks_of_device(session, row.id))
    if set(wanted) == current and not row.problems and not twins:
        return False
    problems = [PROBLEM] if twins else []
    if row.only_task is not None and set(wanted) - {row.only_task}:
        problems.append(f"this device joined for task '{row.only_task}' alone")
        wanted = [task for task in wanted if task == row.only_task]
    problems += membership_problems(session, sorted(set(wanted)))
    if twins and PROBLEM not in row.problems:
        subject = f"device {row.name}"
        event_log.append_event(session, now, event_log.SERVER, subject, "device.twins", PROBLEM)
    known = set(session.scalars(select(TaskRow.name).where(TaskRow.name.in_(wanted))))
    for task in sorted(known - current):
        session.add(MembershipRow(device_id=row.id, task=task, since=now))
        _log_membership(session, row, "joined", task, now)
    for task in sorted(current - known):
        chosen = (MembershipRow.device_id == row.id, MembershipRow.task == task)
        session.execute(delete(MembershipRow).where(*chosen))
        assignments.cancel_benches(session, task, "the device left the task", now, row.id)
        _log_membership(session, row, "left", task, now)
    if known == current and problems == row.problems:
        return False
    row.problems = problems
    notify(session, DeviceChanged(row.id))
    session.flush()
    return True


def _log_membership(session: Session, row: DeviceRow, what: str, task: str, now: float) -> None:
    subject = f"device {row.name}"
    event_log.append_event(
        session, now, subject, subject, f"device.{what}_task", f"task {task}", task=task
    )
