"""Who serves the model of a task, as operators see it: what is wanted of each device, and what it has."""

from __future__ import annotations

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from fedops.core.contracts import ServingRead
from fedops.core.errors import NotFound
from fedops.core.reasons.serving import ServingFacts, serving_health
from fedops.server.database.lookup import unknown_task
from fedops.server.database.tables import (
    AliasRow,
    DeviceRow,
    MembershipRow,
    ModelVersionRow,
    ServingRow,
    TaskRow,
)
from fedops.server.devices import availability
from fedops.server.devices.availability import Attendance


def serving_read(session: Session, task: str, now: float) -> list[ServingRead]:
    """The devices that serve the task's model, by name. ``NotFound``: there is no such task."""
    if session.get(TaskRow, task) is None:
        raise NotFound(unknown_task(session, task))
    return [
        _read(row, device, desired, quarantine, now)
        for row, device, desired, quarantine in session.execute(_query(task))
    ]


def _query(task: str) -> Select[ServingRow, DeviceRow, int | None, str | None]:
    member = (MembershipRow.device_id == ServingRow.device_id) & (MembershipRow.task == task)
    alias = (AliasRow.task == task) & (AliasRow.name == ServingRow.alias)
    named = (ModelVersionRow.task == task) & (ModelVersionRow.version == AliasRow.version)
    return (
        select(ServingRow, DeviceRow, AliasRow.version, ModelVersionRow.quarantine)
        .join(DeviceRow, DeviceRow.id == ServingRow.device_id)
        .join(MembershipRow, member)
        .outerjoin(AliasRow, alias)
        .outerjoin(ModelVersionRow, named)
        .where(ServingRow.task == task)
        .order_by(DeviceRow.name)
    )


def _read(
    row: ServingRow, device: DeviceRow, desired: int | None, quarantine: str | None, now: float
) -> ServingRead:
    called = (device.last_heartbeat_at, device.present_until)
    presence = availability.presence_facts(Attendance(device.id, device.name, *called), now)
    facts = ServingFacts(
        task=row.task,
        alias=row.alias,
        desired=desired,
        quarantine=quarantine or "",
        enrolment=device.enrolment,
        online=presence.online,
        away_seconds=presence.last_seen_seconds,
        wanted=row.wanted,
        actual=row.active,
        status=row.status,
        reason=row.reason,
        stalled=row.stalled,
    )
    health, why = serving_health(facts)
    return ServingRead(
        device=device.name,
        alias=row.alias,
        desired=desired,
        actual=row.active,
        synced=facts.synced,
        health=health,
        status=row.status,
        since=row.status_since,
        why=why,
    )
