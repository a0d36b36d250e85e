"""Which files a device may read because of the commits that it is to run: theirs, and nothing else."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import BlobRef
from fedops.core.contracts.delivery import Packages
from fedops.server.database.tables import ArtifactRow, PackagesRow
from fedops.server.devices.wanted.desired_deployments import read_deployments


def deployment_blob(session: Session, device_id: str, sha256: str) -> BlobRef | None:
    """The file, if what the device is to run names it: an app, a pack, a wheel, a model to try it with."""
    wanted = read_deployments(session, [device_id]).get(device_id, [])
    for one in wanted:
        named = [one.bundle, one.pack, one.model]
        found = next((ref for ref in named if ref is not None and ref.sha256 == sha256), None)
        if found is not None:
            return found
    asked = {(one.task, one.commit) for one in wanted}
    if any(_has_wheel(session, task, commit, sha256) for task, commit in asked):
        return _stored(session, sha256)
    return None


def _has_wheel(session: Session, task: str, commit: str, sha256: str) -> bool:
    query = select(PackagesRow.packages).where(
        PackagesRow.task == task, PackagesRow.commit == commit
    )
    found = (Packages.model_validate(packages) for packages in session.scalars(query))
    return any(wheel.sha256 == sha256 for packages in found for wheel in packages.wheels)


def _stored(session: Session, sha256: str) -> BlobRef | None:
    row = session.get(ArtifactRow, sha256)
    if row is None or row.removed_at is not None:
        return None
    return BlobRef(sha256=row.sha256, size=row.size)
