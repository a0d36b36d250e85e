"""An upgrade as operators see it: where it is, and of each device what it has, what is wanted, and why."""

from __future__ import annotations

from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceUpgradeRead, UpgradeRead
from fedops.core.delivery.upgrades import upgrade_why
from fedops.core.errors import NotFound
from fedops.core.states import ROLLOUT_MOVING, UpgradeStatus
from fedops.server.database.tables import UpgradeRow
from fedops.server.delivery.upgrades import upgrade_rows
from fedops.server.delivery.upgrades.standing import look_at
from fedops.server.delivery.upgrades.upgrade_rows import DeviceOf, devices_of, facts_of


def read_upgrade(session: Session, now: float) -> UpgradeRead:
    """The newest one. ``NotFound``: none was ever asked for."""
    row = upgrade_rows.newest_upgrade(session)
    if row is None:
        raise NotFound("no upgrade was asked for yet; 'fedops device upgrade --all' begins one")
    moving = row.status in ROLLOUT_MOVING
    return UpgradeRead(
        release=row.release,
        status=row.status,
        wave=row.wave,
        why=look_at(session, row, now).step.why if moving else row.why,
        created_at=row.created_at,
        since=row.status_since,
        ended_at=row.ended_at,
        devices=[_device(row, one, now) for one in devices_of(session, row)],
    )


def upgrade_of_device(session: Session, device_id: str, now: float) -> DeviceUpgradeRead | None:
    """A device in the newest upgrade; None: none was asked for that it is in."""
    row = upgrade_rows.newest_upgrade(session)
    found = devices_of(session, row, device_id) if row is not None else []
    return _device(row, found[0], now) if row is not None and found else None


def _device(row: UpgradeRow, one: DeviceOf, now: float) -> DeviceUpgradeRead:
    facts = facts_of(one, now)
    waits = one.status is UpgradeStatus.WAITING
    ended = "not asked any more" if row.ended_at is not None else ""
    unfinished = one.status in (UpgradeStatus.WAITING, UpgradeStatus.ASKED)
    return DeviceUpgradeRead(
        device=one.name,
        release=str(one.info.get("fedops", "")),
        wanted="" if ended or waits else row.release,
        status=one.status,
        online=facts.online,
        since=one.since,
        why=ended if ended and unfinished else upgrade_why(facts),
        wave=one.wave,
    )
