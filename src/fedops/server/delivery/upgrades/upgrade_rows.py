"""Upgrades as rows: which one counts, its devices, and how both move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from fedops.core.delivery.upgrades import UpgradeFacts
from fedops.core.presence import is_online
from fedops.core.states import (
    ROLLOUT_TERMINAL,
    ROLLOUT_TRANSITIONS,
    Enrolment,
    RolloutStatus,
    UpgradeStatus,
)
from fedops.server.database.compare_and_set import transition
from fedops.server.database.tables import DeviceRow, DeviceUpgradeRow, UpgradeRow
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import DeviceChanged, WorkForRollouts, notify

#: One device of an upgrade: what is in its row, and what is known of it.
DeviceOf = Row[Any]


def current_upgrade(session: Session) -> UpgradeRow | None:
    """The upgrade that has not ended."""
    return session.scalars(select(UpgradeRow).where(UpgradeRow.live == 1)).one_or_none()


def newest_upgrade(session: Session) -> UpgradeRow | None:
    """The newest one, ended or not."""
    return session.scalars(select(UpgradeRow).order_by(UpgradeRow.id.desc()).limit(1)).first()


def devices_of(
    session: Session, row: UpgradeRow, device_id: str | None = None
) -> Sequence[DeviceOf]:
    """Its devices by name, or one of them, but for those that an operator took out since."""
    one = DeviceUpgradeRow
    query = (
        select(DeviceRow.id, DeviceRow.name, DeviceRow.info, DeviceRow.last_heartbeat_at)
        .add_columns(DeviceRow.present_until, one.wave, one.status, one.since, one.reason)
        .join(DeviceRow, DeviceRow.id == one.device_id)
        .where(one.upgrade == row.id, DeviceRow.enrolment == Enrolment.APPROVED)
        .order_by(DeviceRow.name)
    )
    if device_id is not None:
        query = query.where(DeviceRow.id == device_id)
    return session.execute(query).all()


def facts_of(one: DeviceOf, now: float) -> UpgradeFacts:
    return UpgradeFacts(
        device=one.name,
        wave=one.wave or 0,
        status=one.status,
        since=one.since,
        reason=one.reason,
        online=is_online(one.present_until, now),
        heard_at=one.last_heartbeat_at or 0.0,
    )


def ask(
    session: Session, row: UpgradeRow, wave: int | None, now: float, ids: Sequence[str] = ()
) -> None:
    """Ask devices that wait. No ``ids``: all of them, in no wave."""
    mine, waits = DeviceUpgradeRow.upgrade == row.id, UpgradeStatus.WAITING
    chosen = [mine, DeviceUpgradeRow.status == waits]
    if ids:
        chosen.append(DeviceUpgradeRow.device_id.in_(ids))
    found = list(session.scalars(select(DeviceUpgradeRow.device_id).where(*chosen)))
    asked = {"wave": wave, "status": UpgradeStatus.ASKED, "since": now}
    session.execute(update(DeviceUpgradeRow).where(*chosen).values(asked))
    notify(session, *(DeviceChanged(id_) for id_ in found))


def move_upgrade(
    session: Session, row: UpgradeRow, new: RolloutStatus, change: Change, **values: Any
) -> None:
    """Take it to a state, if it is not there yet, and log it. When it ends, no device is asked any more."""
    ends = new in ROLLOUT_TERMINAL
    if ends:
        values |= {"live": None, "ended_at": change.at}
    before = transition(
        session,
        row,
        "status",
        ROLLOUT_TRANSITIONS,
        new,
        **{"status_since": change.at, "why": change.why, **values},
    )
    if before is None:
        return
    log(session, row, change, new.value)
    notify(session, WorkForRollouts())
    if ends:
        query = select(DeviceUpgradeRow.device_id).where(DeviceUpgradeRow.upgrade == row.id)
        notify(session, *(DeviceChanged(id_) for id_ in session.scalars(query)))


def log(session: Session, row: UpgradeRow, change: Change, what: str) -> None:
    """``upgrade.waving``, with the release in front."""
    text = f"FedOps {row.release}" + (f": {change.why}" if change.why else "")
    event_log.append_event(
        session, change.at, change.who, "devices", f"upgrade.{what}", text, upgrade=row.id
    )
