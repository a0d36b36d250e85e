"""Model versions as devices may have them: those of the tasks that they take part in, and no others."""

from __future__ import annotations

from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceModelRead
from fedops.core.errors import Forbidden
from fedops.core.states import Enrolment
from fedops.server.database.lookup import require_device
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import ArtifactRow, RunRow, TaskRow
from fedops.server.devices.membership import tasks_of_device
from fedops.server.models import versions


def read_device_model(session: Session, device_id: str, task: str, version: str) -> DeviceModelRead:
    """A version of a task that the device takes part in.

    Raises:
        Forbidden: it is not approved, or takes no part in the task, whether there is one or not.
        NotFound: the task has no such version.
    """
    _require_member(session, device_id, task)
    row = versions.find_version(session, task, version)
    run = session.get_one(RunRow, row.run_id) if row.run_id is not None else None
    return read_as(
        DeviceModelRead,
        row,
        size=session.get_one(ArtifactRow, row.sha256).size,
        config=run.config if run else session.get_one(TaskRow, task).config,
        dataset=run.dataset if run else None,
    )


def _require_member(session: Session, device_id: str, task: str) -> None:
    device = require_device(session, device_id)
    if device.enrolment is not Enrolment.APPROVED:
        raise Forbidden(f"device '{device.name}' is {device.enrolment.value}: it may have no model")
    mine = tasks_of_device(session, device_id)
    if task not in mine:
        there = f"it takes part in {', '.join(mine)}" if mine else "it takes part in none"
        raise Forbidden(f"device '{device.name}' takes no part in a task '{task}'; {there}")
