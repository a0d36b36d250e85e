"""Who is told that a served version may be another one."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.server.database.tables import ServingRow
from fedops.server.events.notifications import DeviceChanged, notify


def tell_served(session: Session, task: str, alias: str | None = None) -> None:
    """Devices that serve what this alias of the task names hear of it. None: what any alias names."""
    query = select(ServingRow.device_id).where(ServingRow.task == task)
    if alias is not None:
        query = query.where(ServingRow.alias == alias)
    notify(session, *(DeviceChanged(device_id) for device_id in session.scalars(query)))
