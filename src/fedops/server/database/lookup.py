"""Rows by what a user calls them, with an error that names those there are."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.errors import NotFound
from fedops.core.states import Enrolment
from fedops.core.suggestions import did_you_mean
from fedops.server.database.tables import DeviceRow, RunRow, TaskRow


def require_run(session: Session, run_id: int) -> RunRow:
    """The run, or ``NotFound`` naming the newest ones."""
    run = session.get(RunRow, run_id)
    if run is None:
        newest = session.scalars(select(RunRow.id).order_by(RunRow.id.desc()).limit(5)).all()
        known = ", ".join(str(number) for number in newest)
        raise NotFound(
            f"there is no run {run_id}; " + (f"the newest are: {known}" if known else "none yet")
        )
    return run


def require_device(session: Session, device: str) -> DeviceRow:
    """A device by id or name. ``NotFound`` names those there are."""
    row = session.get(DeviceRow, device)
    row = row or session.scalars(select(DeviceRow).where(DeviceRow.name == device)).first()
    if row is None:
        there = DeviceRow.enrolment != Enrolment.REMOVED
        names = session.scalars(select(DeviceRow.name).where(there).order_by(DeviceRow.name)).all()
        raise NotFound(f"there is no device '{device}'{_known(device, names)}")
    return row


def _known(wanted: str, names: Sequence[str]) -> str:
    if not names:
        return "; none has joined yet ('fedops join' on a device)"
    return did_you_mean(wanted, names) or f"; there are: {', '.join(names[:20])}"


def unknown_task(session: Session, name: str) -> str:
    """What to say of a task that does not exist: those that do."""
    known = session.scalars(select(TaskRow.name).order_by(TaskRow.name).limit(20)).all()
    there = (
        "there are: " + ", ".join(f"'{task}'" for task in known) if known else "there is none yet"
    )
    return f"there is no task '{name}'; {there}"
