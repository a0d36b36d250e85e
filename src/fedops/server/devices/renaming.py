"""Another name for a device. Its rounds, logs and samples know it by its id; its scores go with it."""

from __future__ import annotations

import re

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fedops.core.errors import Conflict, Invalid
from fedops.core.states import RUN_TERMINAL, Enrolment
from fedops.server.database.lookup import require_device
from fedops.server.database.tables import AssignmentRow, DeviceRow, MembershipRow, RunRow
from fedops.server.devices.names_in_scores import rename_in_scores
from fedops.server.events import event_log
from fedops.server.events.notifications import DeviceChanged, notify

#: They have another meaning in URLs.
RESERVED = frozenset({"me", "upgrade"})


def rename_device(session: Session, device: str, name: str, now: float) -> str:
    """Give a device a name that no other has; it hears of it with its next poll. Returns its id.

    ``Conflict``: the name is taken, or a run that goes on knows the device by its name.
    """
    row = require_device(session, device)
    if name == row.name:
        return row.id
    _require_free(session, name)
    if row.enrolment is Enrolment.REMOVED:
        raise Conflict(f"device '{row.name}' was removed: what is left of it keeps its name")
    _require_no_run(session, row)
    former, row.name = row.name, name
    _rename_in_runs(session, former, name)
    rename_in_scores(session, former, name)
    subject, text = f"device {name}", f"it was called {former}"
    event_log.append_event(session, now, event_log.OPERATOR, subject, "device.renamed", text)
    notify(session, DeviceChanged(row.id))
    return row.id


def is_like_an_id(name: str) -> bool:
    """Whether a name could be taken for the id of another device."""
    return re.fullmatch(r"[0-9a-f]{32}", name) is not None


def _require_free(session: Session, name: str) -> None:
    if name in RESERVED or is_like_an_id(name):
        raise Invalid(f"a device cannot be called '{name}': choose another name")
    if session.scalar(select(DeviceRow.id).where(DeviceRow.name == name)) is not None:
        raise Conflict(
            f"the name '{name}' is taken by another device: choose another, or free it first with "
            f"'fedops device rename {name} OTHER' or 'fedops device remove {name}'"
        )


def _rename_in_runs(session: Session, former: str, name: str) -> None:
    """A run that makes a version again knows by name whom it leaves out, and so does its retry."""
    for run in session.scalars(select(RunRow).where(RunRow.rebuilds.is_not(None))):
        made = run.rebuilds or {}
        without = [name if one == former else one for one in made.get("without", ())]
        run.rebuilds = {**made, "without": without}


def _require_no_run(session: Session, row: DeviceRow) -> None:
    """The FL server of a run calls the device by its name."""
    at_work = select(AssignmentRow.run_id).where(AssignmentRow.device_id == row.id)
    tasks = select(MembershipRow.task).where(MembershipRow.device_id == row.id)
    query = select(RunRow.id).where(
        RunRow.status.not_in(RUN_TERMINAL), or_(RunRow.id.in_(at_work), RunRow.task.in_(tasks))
    )
    run_id = session.scalars(query.order_by(RunRow.id).limit(1)).first()
    if run_id is not None:
        raise Conflict(
            f"device '{row.name}' takes part in run {run_id}: rename it when the run is over "
            f"('fedops run why {run_id}' says how far it is)"
        )
