"""What devices say of the release that they are to install, with their polls."""

from __future__ import annotations

from sqlalchemy.orm import Session

from fedops.core.contracts import WorkPoll
from fedops.core.reasons.releases import same_release
from fedops.core.states import RolloutStatus, UpgradeStatus
from fedops.server.database.tables import DeviceRow, DeviceUpgradeRow, UpgradeRow
from fedops.server.delivery.upgrades.upgrade_rows import current_upgrade
from fedops.server.delivery.upgrades.upgrades import waiting
from fedops.server.events import event_log
from fedops.server.events.notifications import DeviceChanged, WorkForRollouts, notify

S = UpgradeStatus
#: What is worth an event.
_EVENTS = {S.DONE: "upgraded", S.FAILED: "upgrade_failed", S.STALLED: "upgrade_stalled"}


def note_upgrade(session: Session, device_id: str, body: WorkPoll, now: float) -> None:
    """Keep how far a device that was let in is. Repeating is harmless.

    A device that comes with another release, while an upgrade of all goes on, is a part of it.
    """
    row = current_upgrade(session)
    if row is None:
        return
    device = session.get_one(DeviceRow, device_id)
    installed = str(device.info.get("fedops", ""))
    mine = session.get(DeviceUpgradeRow, (row.id, device_id))
    if mine is None:
        if row.everyone and installed and not same_release(installed, row.release):
            _enter(session, row, device_id, now)
        return
    status, reason = _said(row, mine, installed, body)
    if (status, reason) == (mine.status, mine.reason):
        return
    changed = status is not mine.status
    mine.status, mine.reason = status, reason
    if changed:
        mine.since = now
        _log(session, device.name, row.release, mine, now)
    session.flush()
    notify(session, WorkForRollouts())


def _said(
    row: UpgradeRow, mine: DeviceUpgradeRow, installed: str, body: WorkPoll
) -> tuple[UpgradeStatus, str]:
    if installed and same_release(installed, row.release):
        return S.DONE, ""
    if mine.status is S.WAITING:
        return S.WAITING, ""
    if body.upgrade_problem and body.upgrade_attempt == row.id:
        return (S.STALLED if body.upgrade_stalled else S.FAILED), body.upgrade_problem
    return S.ASKED, ""


def _enter(session: Session, row: UpgradeRow, device_id: str, now: float) -> None:
    """Once the waves are over, who comes is asked at once."""
    mine = waiting(row, device_id, now)
    if row.status is RolloutStatus.HOLDING:
        mine.status = S.ASKED
        notify(session, DeviceChanged(device_id))
    session.add(mine)
    session.flush()
    notify(session, WorkForRollouts())


def _log(session: Session, name: str, release: str, mine: DeviceUpgradeRow, now: float) -> None:
    if (event := _EVENTS.get(mine.status)) is None:
        return
    subject = f"device {name}"
    text = f"FedOps {release}" + (f": {mine.reason}" if mine.reason else "")
    event_log.append_event(session, now, subject, subject, f"device.{event}", text)
