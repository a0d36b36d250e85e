"""Which version each device is to serve. A version in quarantine is told of and never delivered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from fedops.core.contracts import DesiredModel
from fedops.core.states import Enrolment
from fedops.server.database.tables import (
    AliasRow,
    ArtifactRow,
    DeviceRow,
    MembershipRow,
    ModelVersionRow,
    ServingRow,
)


def read_serving(session: Session, device_ids: Iterable[str]) -> dict[str, list[DesiredModel]]:
    """What these devices are to serve, by id: of the tasks they take part in, in the order of their names.

    A device that is not approved is to serve nothing.
    """
    found: dict[str, list[DesiredModel]] = defaultdict(list)
    query = _named(
        ServingRow.device_id,
        ServingRow.task,
        ServingRow.alias,
        AliasRow.moved_at,
        ModelVersionRow.version,
        ModelVersionRow.sha256,
        ModelVersionRow.metrics,
        ModelVersionRow.quarantined_at,
        ModelVersionRow.quarantine,
        ArtifactRow.size,
    ).where(ServingRow.device_id.in_(sorted(set(device_ids))))
    for row in session.execute(query.order_by(ServingRow.task)):
        hold = "" if row.quarantined_at is None else _held(row.version, row.quarantine or "")
        model = DesiredModel(
            task=row.task,
            alias=row.alias,
            version=row.version,
            sha256=row.sha256,
            size=row.size,
            metrics=row.metrics,
            promoted_at=row.moved_at,
            hold=hold,
        )
        found[row.device_id].append(model)
    return found


def may_fetch(session: Session, device_id: str, sha256: str) -> bool:
    """Whether the file is that of a version that the device is to serve, and that is not in quarantine."""
    mine = (ServingRow.device_id == device_id, ModelVersionRow.sha256 == sha256)
    query = _named(ServingRow.task).where(*mine, ModelVersionRow.quarantined_at.is_(None))
    return session.execute(query.limit(1)).first() is not None


def _held(version: int, why: str) -> str:
    return f"V{version} is quarantined and not delivered: {why}"


def _named(*columns: Any) -> Select[Any]:
    """Versions that aliases name, with the approved members that serve them."""
    of_device = (MembershipRow.device_id == ServingRow.device_id) & (
        MembershipRow.task == ServingRow.task
    )
    return (
        select(*columns)
        .select_from(ServingRow)
        .join(DeviceRow, DeviceRow.id == ServingRow.device_id)
        .join(MembershipRow, of_device)
        .join(AliasRow, (AliasRow.task == ServingRow.task) & (AliasRow.name == ServingRow.alias))
        .join(
            ModelVersionRow,
            (ModelVersionRow.task == AliasRow.task) & (ModelVersionRow.version == AliasRow.version),
        )
        .join(ArtifactRow, ArtifactRow.sha256 == ModelVersionRow.sha256)
        .where(DeviceRow.enrolment == Enrolment.APPROVED)
    )
