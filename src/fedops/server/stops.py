"""Stopping and pausing until every device confirmed: who is asked, who is quiet, when it is settled."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import Heartbeat
from fedops.core.policies import is_online
from fedops.core.states import ProcessStatus, RunStatus
from fedops.server import events
from fedops.server.run_states import live_attempt, move_run
from fedops.server.tables import DeviceRow, RunDeviceRow, RunRow
from fedops.settings import ServerSettings

#: How long the engine may take to say goodbye before a run is settled without it. Seconds.
GOODBYE_SECONDS = 3.0
_SETTLES_AS = {RunStatus.STOPPING: RunStatus.STOPPED, RunStatus.PAUSING: RunStatus.PAUSED}
_TRAINING = (ProcessStatus.TRAINING, ProcessStatus.EVALUATING)


def asked(session: Session, run_id: int) -> list[tuple[RunDeviceRow, DeviceRow]]:
    """The devices that were asked to train in a run, by name."""
    query = (
        select(RunDeviceRow, DeviceRow)
        .join(DeviceRow, DeviceRow.id == RunDeviceRow.device_id)
        .where(RunDeviceRow.run_id == run_id)
        .order_by(DeviceRow.name)
    )
    return [(row, device) for row, device in session.execute(query)]


def unconfirmed(session: Session, run_id: int, interval: float, now: float) -> list[str]:
    """The devices that may still train for a run: asked, online, and not quiet."""
    return [
        device.name
        for row, device in asked(session, run_id)
        if row.quiet_at is None and is_online(device.last_heartbeat_at, interval, now)
    ]


def ask_again(session: Session, run_id: int) -> None:
    """From now on, every device must confirm (anew) that it is quiet."""
    session.execute(update(RunDeviceRow).where(RunDeviceRow.run_id == run_id).values(quiet_at=None))


def note(
    session: Session, device_id: str, body: Heartbeat, settings: ServerSettings, now: float
) -> None:
    """Take from a heartbeat which ending runs the device is quiet for."""
    query = (
        select(RunDeviceRow, RunRow)
        .join(RunRow, RunRow.id == RunDeviceRow.run_id)
        .where(RunDeviceRow.device_id == device_id, RunRow.status.in_(_SETTLES_AS))
    )
    for row, run in session.execute(query).all():
        busy = body.process.run_id == run.id and body.process.status in _TRAINING
        quiet = run.id in body.quiet_runs or not busy
        row.quiet_at = (row.quiet_at or now) if quiet else None
        session.flush()
        settle(session, run, settings, now)


def settle(session: Session, run: RunRow, settings: ServerSettings, now: float) -> bool:
    """End a stopping (pausing) run once engine and devices are quiet, or the time is up."""
    if run.status not in _SETTLES_AS:
        return False
    waited = now - run.status_since
    waiting = unconfirmed(session, run.id, settings.heartbeat_seconds, now)
    engine_quiet = waited >= GOODBYE_SECONDS or live_attempt(session, run) is None
    if waited < settings.stop_seconds and (waiting or not engine_quiet):
        return False
    why = "every device confirmed" if not waiting else f"no word from {', '.join(waiting)}"
    return move_run(session, run, _SETTLES_AS[run.status], events.SERVER, why, now, text=run.text)


def settle_all(session: Session, settings: ServerSettings, now: float) -> list[int]:
    """For the sweeper: end what is due; returns the runs that ended."""
    query = select(RunRow).where(RunRow.status.in_(_SETTLES_AS))
    runs = session.scalars(query).all()
    return [run.id for run in runs if settle(session, run, settings, now)]
