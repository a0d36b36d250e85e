"""Upgrades as operators ask for them and stop them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops import __version__
from fedops.core.contracts import DeviceUpgrade
from fedops.core.errors import Conflict
from fedops.core.reasons.durations import first_few, pluralised
from fedops.core.reasons.releases import same_release
from fedops.core.states import ROLLOUT_MOVING, Enrolment, RolloutStatus, UpgradeStatus
from fedops.server.database.lookup import require_device
from fedops.server.database.tables import DeviceRow, DeviceUpgradeRow, UpgradeRow
from fedops.server.delivery.upgrades import upgrade_rows
from fedops.server.delivery.upgrades.standing import POLICY
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import WorkForRollouts, notify

R = RolloutStatus
_STOP = "'fedops device upgrade --stop' ends it"
_OPEN = (UpgradeStatus.WAITING, UpgradeStatus.ASKED, UpgradeStatus.STALLED)


def start_upgrade(session: Session, body: DeviceUpgrade, now: float) -> UpgradeRow:
    """Have devices install the release that this server runs: those of them that have another one.

    Raises:
        NotFound: there is no such device.
        Conflict: none of them has another release, one was not let in, or an upgrade goes on.
    """
    chosen = _of_other_release(_devices(session, body.names), body.names)
    change = Change(event_log.OPERATOR, "asked for by a person", now)
    current = upgrade_rows.current_upgrade(session)
    if current is not None:
        _require_replaceable(session, current, everyone=not body.names)
        why = Change(change.who, "another upgrade was asked for", now)
        upgrade_rows.move_upgrade(session, current, R.SUPERSEDED, why)
    row = UpgradeRow(
        release=__version__,
        live=1,
        everyone=not body.names,
        status=R.PENDING,
        status_since=now,
        wave=0,
        wave_since=now,
        why=change.why,
        policy=body.model_dump(mode="json", include=POLICY),
        created_at=now,
    )
    session.add(row)
    session.flush()
    session.add_all(waiting(row, device.id, now) for device in chosen)
    session.flush()
    said = Change(change.who, f"{change.why}, for {pluralised(len(chosen), 'device')}", now)
    upgrade_rows.log(session, row, said, "pending")
    notify(session, WorkForRollouts())
    return row


def waiting(row: UpgradeRow, device_id: str, now: float) -> DeviceUpgradeRow:
    """A device that is not asked yet."""
    return DeviceUpgradeRow(
        upgrade=row.id, device_id=device_id, status=UpgradeStatus.WAITING, since=now, reason=""
    )


def stop_upgrade(session: Session, now: float) -> UpgradeRow:
    """Ask no further device. Who is at it goes on. ``Conflict``: no upgrade goes on."""
    row = upgrade_rows.current_upgrade(session)
    if row is None:
        raise Conflict("no upgrade goes on; 'fedops device upgrade --status' shows the last one")
    change = Change(event_log.OPERATOR, "stopped by a person", now)
    upgrade_rows.move_upgrade(session, row, R.STOPPED, change)
    return row


def _devices(session: Session, names: Sequence[str]) -> Sequence[DeviceRow]:
    """Those named, or all that were let in."""
    if not names:
        query = select(DeviceRow).where(DeviceRow.enrolment == Enrolment.APPROVED)
        return session.scalars(query.order_by(DeviceRow.name)).all()
    found = {row.id: row for row in (require_device(session, name) for name in names)}
    for row in found.values():
        if row.enrolment is not Enrolment.APPROVED:
            raise Conflict(f"device '{row.name}' is {row.enrolment.value}: it is asked for nothing")
    return list(found.values())


def _of_other_release(devices: Sequence[DeviceRow], names: Sequence[str]) -> list[DeviceRow]:
    """A device that has never said its release is asked when it has."""
    said = [(row, str(row.info.get("fedops", ""))) for row in devices]
    found = [row for row, has in said if has and not same_release(has, __version__)]
    if found:
        return found
    silent = [row.name for row, has in said if not has]
    why = f"; not said yet by {first_few(silent)}" if silent else ""
    who = "none of these devices" if names else "no device"
    raise Conflict(f"{who} has another release than this server, FedOps {__version__}{why}")


def _require_replaceable(session: Session, row: UpgradeRow, *, everyone: bool) -> None:
    """One that goes on is not replaced unasked, nor are devices forgotten that it has still to ask."""
    if not same_release(row.release, __version__):
        return
    if row.status in ROLLOUT_MOVING:
        raise Conflict(f"an upgrade to FedOps {row.release} is {row.status.value}; {_STOP}")
    if not everyone and (row.everyone or _has_open(session, row)):
        raise Conflict(
            f"an upgrade to FedOps {row.release} is {row.status.value}, for devices that are still to come;"
            f" {_STOP}"
        )


def _has_open(session: Session, row: UpgradeRow) -> bool:
    return any(one.status in _OPEN for one in upgrade_rows.devices_of(session, row))
