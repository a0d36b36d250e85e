"""Versions that nothing goes on from: put there by the gate or by a person, and let out by a person."""

from __future__ import annotations

from sqlalchemy.orm import Session

from fedops.core.contracts import ModelVersionRead
from fedops.core.errors import Conflict
from fedops.server.database.tables import ModelVersionRow, TaskRow
from fedops.server.events import event_log
from fedops.server.models import versions
from fedops.server.models.served_by import tell_served


def quarantine_version(
    session: Session, task: str, version: str, because: str, now: float
) -> ModelVersionRead:
    """An operator takes a version out of use. Repeating changes nothing."""
    row = _locked(session, task, version)
    if row.version == 0:
        raise Conflict(
            "V0 is the initial model, which no device has touched: every model begins from it, and it cannot"
            " be quarantined"
        )
    put(session, row, because, event_log.OPERATOR, now)
    return versions.version_read(session, row)


def release_version(
    session: Session, task: str, version: str, because: str, now: float
) -> ModelVersionRead:
    """An operator lets a version be used again. Repeating changes nothing."""
    row = _locked(session, task, version)
    if row.quarantined_at is not None:
        text = f"{because} (it was quarantined: {row.quarantine})"
        row.quarantined_at = row.quarantine = None
        session.flush()
        _log(session, row, "model.released", text, event_log.OPERATOR, now)
        tell_served(session, task)
        versions.follow_latest(session, task, now, event_log.OPERATOR)
    return versions.version_read(session, row)


def put(session: Session, row: ModelVersionRow, why: str, who: str, now: float) -> bool:
    """Quarantine a version, if it is not already; ``latest`` passes it over. Whether it was changed."""
    if row.quarantined_at is not None:
        return False
    row.quarantined_at, row.quarantine = now, why
    session.flush()
    _log(session, row, "model.quarantined", why, who, now)
    tell_served(session, row.task)
    versions.follow_latest(session, row.task, now, who)
    return True


def require_sound(row: ModelVersionRow, what: str) -> None:
    """``Conflict`` when a version is quarantined: it says what cannot be done with it (``what``)."""
    if row.quarantined_at is not None:
        raise Conflict(
            f"{what}: V{row.version} of task '{row.task}' is quarantined: {row.quarantine}; if it is good,"
            f" 'fedops model release {row.task} V{row.version} --because TEXT'"
        )


def _locked(session: Session, task: str, version: str) -> ModelVersionRow:
    row = versions.find_version(session, task, version)
    session.get_one(TaskRow, task, with_for_update=True, populate_existing=True)
    session.refresh(row)
    return row


def _log(
    session: Session, row: ModelVersionRow, name: str, text: str, who: str, now: float
) -> None:
    subject = f"model {row.task} V{row.version}"
    event_log.append_event(session, now, who, subject, name, text, row.run_id)
