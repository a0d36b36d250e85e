"""What somebody who is limited to named tasks gets of a call: theirs, and no word of anything else.

To them, what is of another task is as if it did not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fedops.core.errors import Forbidden, NotFound
from fedops.server.access.principal import Principal
from fedops.server.access.rules import Of, named_tasks
from fedops.server.database.tables import DeviceRow, MembershipRow, RunRow, StudyRow

_MAX_ID = 2**63


def require_theirs(
    session: Session,
    principal: Principal,
    of: Of,
    path: Mapping[str, str],
    query: Mapping[str, Sequence[str]],
) -> None:
    """``NotFound`` unless all that a call's path and query name is of the caller's tasks."""
    tasks = principal.tasks
    if tasks is None or of is Of.SELF:
        return
    if "task" in path:
        _require_task(tasks, path["task"])
    if "run_id" in path:
        _require_run(session, tasks, path["run_id"])
    if "study_id" in path:
        _require_study(session, tasks, path["study_id"])
    if "device" in path:
        _require_device(session, tasks, path["device"])
    for name in query.get("task", ()):
        _require_task(tasks, name)
    for name in query.get("run_id", ()):
        _require_run(session, tasks, name)
    for name in query.get("device", ()):
        _require_device(session, tasks, name)


def require_new_task(principal: Principal, task: str) -> None:
    """``Forbidden`` unless the caller may make a task of this name."""
    if principal.tasks is not None and task not in principal.tasks:
        raise Forbidden(
            f"user '{principal.user}' has leave for {named_tasks(principal.tasks)} only, "
            f"and may make no task '{task}'"
        )


def _require_task(tasks: frozenset[str], name: str) -> None:
    if name not in tasks:
        raise NotFound(f"there is no task '{name[:63]}' among yours: {named_tasks(tasks)}")


def _require_run(session: Session, tasks: frozenset[str], text: str) -> None:
    found = session.scalar(select(RunRow.task).where(RunRow.id == _number(text)))
    if found is None or found not in tasks:
        raise NotFound(f"there is no run {text[:20]} of {named_tasks(tasks)}")


def _require_study(session: Session, tasks: frozenset[str], text: str) -> None:
    found = session.scalar(select(StudyRow.task).where(StudyRow.id == _number(text)))
    if found is None or found not in tasks:
        raise NotFound(f"there is no study {text[:20]} of {named_tasks(tasks)}")


def _number(text: str) -> int:
    """An id; 0, which nothing has, for what is none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    return number if number < _MAX_ID else 0


def _require_device(session: Session, tasks: frozenset[str], name: str) -> None:
    query = (
        select(DeviceRow.id)
        .join(MembershipRow, MembershipRow.device_id == DeviceRow.id)
        .where(or_(DeviceRow.name == name, DeviceRow.id == name), MembershipRow.task.in_(tasks))
    )
    if session.scalars(query).first() is None:
        raise NotFound(f"there is no device '{name[:63]}' in {named_tasks(tasks)}")
