"""Stopping and pausing until every device let go of its work: who is waited for, when it is settled."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fedops.core.presence import is_online
from fedops.core.states import ASSIGNMENT_OPEN, RunStatus
from fedops.server.assignments import assignments
from fedops.server.assignments.assignments import ENDED_BY_SERVER
from fedops.server.database.tables import AssignmentRow, DeviceRow, RunRow
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import WorkReleased, notify
from fedops.server.runs.transitions import live_attempt, transition_run
from fedops.settings import ServerSettings

#: How long the engine may take to say goodbye before a run is settled without it. Seconds.
GOODBYE_SECONDS = 3.0
_SETTLES_AS = {RunStatus.STOPPING: RunStatus.STOPPED, RunStatus.PAUSING: RunStatus.PAUSED}
_OPEN = AssignmentRow.status.in_(ASSIGNMENT_OPEN)
_ENDED = AssignmentRow.status.in_(ENDED_BY_SERVER)


def unconfirmed_devices(session: Session, run_id: int, now: float) -> list[str]:
    """The devices that may still work for a run, by name: online, and holding an assignment of it."""
    holds = or_(_OPEN, _ENDED & AssignmentRow.released_at.is_(None))
    query = (
        select(DeviceRow.name, DeviceRow.present_until)
        .join(AssignmentRow, AssignmentRow.device_id == DeviceRow.id)
        .where(AssignmentRow.run_id == run_id, holds)
        .distinct()
        .order_by(DeviceRow.name)
    )
    return [name for name, until in session.execute(query) if is_online(until, now)]


def devices_asked_to_stop(session: Session, run: RunRow, now: float) -> set[str]:
    """The devices that were told to let go, by name: those that did since, and those that did not yet."""
    query = (
        select(DeviceRow.name)
        .join(AssignmentRow, AssignmentRow.device_id == DeviceRow.id)
        .where(AssignmentRow.run_id == run.id, _ENDED)
        .where(AssignmentRow.released_at >= run.status_since)
    )
    return {*session.scalars(query), *unconfirmed_devices(session, run.id, now)}


def finish_stopping(session: Session, run: RunRow, settings: ServerSettings, now: float) -> bool:
    """End a stopping (pausing) run once engine and devices are quiet, or the time is up."""
    if run.status not in _SETTLES_AS:
        return False
    waited = now - run.status_since
    waiting = unconfirmed_devices(session, run.id, now)
    engine_quiet = waited >= GOODBYE_SECONDS or live_attempt(session, run) is None
    if waited < settings.stop_seconds and (waiting or not engine_quiet):
        return False
    why = "every device confirmed" if not waiting else f"no word from {', '.join(waiting)}"
    return transition_run(
        session, run, _SETTLES_AS[run.status], Change(event_log.SERVER, why, now), text=run.text
    )


def is_any_stopping(session: Session) -> bool:
    """Whether any run is stopping or pausing."""
    query = select(RunRow.id).where(RunRow.status.in_(_SETTLES_AS)).limit(1)
    return session.scalars(query).first() is not None


def finish_all_stopping(session: Session, settings: ServerSettings, now: float) -> list[int]:
    """For maintenance: end what is due; returns the runs that ended."""
    query = select(RunRow).where(RunRow.status.in_(_SETTLES_AS))
    runs = session.scalars(query).all()
    return [run.id for run in runs if finish_stopping(session, run, settings, now)]


def confirm_released(
    session: Session, ids: Collection[str], settings: ServerSettings, now: float
) -> None:
    """Devices are not at these assignments any more: what waited for that may be settled."""
    run_ids = assignments.release_assignments(session, ids, now)
    notify(session, WorkReleased(tuple(sorted(ids))))
    query = select(RunRow).where(RunRow.id.in_(run_ids), RunRow.status.in_(_SETTLES_AS))
    for run in session.scalars(query).all():
        finish_stopping(session, run, settings, now)
