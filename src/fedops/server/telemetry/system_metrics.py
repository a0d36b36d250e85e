"""What devices measured of themselves: the newest samples, and how long they are kept."""

from __future__ import annotations

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from fedops.core.contracts import RecordKind, TelemetryRead
from fedops.server.database import lookup
from fedops.server.database.tables import RecordRow, RunRow

#: So many are removed in one transaction, so that none takes long.
CHUNK = 2_000
_IS_SAMPLE = RecordRow.kind == RecordKind.TELEMETRY.value


def latest_samples(
    session: Session, device: str, limit: int, within: frozenset[str] | None = None
) -> list[TelemetryRead]:
    """The newest samples of a device (by name or id), oldest first. ``within``: of runs of these tasks."""
    row = lookup.require_device(session, device)
    query = select(RecordRow).where(RecordRow.device_id == row.id, _IS_SAMPLE)
    if within is not None:
        query = query.where(RecordRow.run_id.in_(select(RunRow.id).where(RunRow.task.in_(within))))
    found = session.scalars(query.order_by(RecordRow.at.desc()).limit(limit)).all()
    return [
        TelemetryRead(at=sample.at, run_id=sample.run_id, values=sample.data)
        for sample in reversed(found)
    ]


def delete_samples_before(session: Session, before: float) -> int:
    """Remove samples that came in before a moment, at most a chunk; how many it were."""
    key = (RecordRow.device_id, RecordRow.id)
    old = select(*key).where(RecordRow.received_at < before, _IS_SAMPLE).limit(CHUNK)
    gone = session.execute(old).all()
    if gone:
        session.execute(delete(RecordRow).where(tuple_(*key).in_([tuple(row) for row in gone])))
    return len(gone)
