"""Which release of FedOps each device is to install: the server's own, as far as it was asked to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops import __version__
from fedops.core.states import Enrolment, UpgradeStatus
from fedops.server.database.tables import DeviceRow, DeviceUpgradeRow, UpgradeRow


@dataclass(frozen=True)
class WantedRelease:
    """``attempt``: which wish for it that is. A device tries once for each."""

    release: str = ""
    attempt: int = 0


#: Of a device that is asked for nothing.
NO_RELEASE = WantedRelease()


def read_releases(session: Session, device_ids: Iterable[str]) -> dict[str, WantedRelease]:
    """By id, of those that are asked. Nobody is asked for a release that this server does not have."""
    one = DeviceUpgradeRow
    query = (
        select(one.device_id, UpgradeRow.release, UpgradeRow.id)
        .join(UpgradeRow, UpgradeRow.id == one.upgrade)
        .join(DeviceRow, DeviceRow.id == one.device_id)
        .where(UpgradeRow.live == 1, UpgradeRow.release == __version__)
        .where(one.device_id.in_(sorted(set(device_ids))), one.status != UpgradeStatus.WAITING)
        .where(DeviceRow.enrolment == Enrolment.APPROVED)
    )
    return {id_: WantedRelease(release, number) for id_, release, number in session.execute(query)}
