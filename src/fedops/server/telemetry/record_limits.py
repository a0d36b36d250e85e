"""What a device may report, and how much of it is kept: of its own runs, its newest."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceRecord, RecordKind
from fedops.server.database.tables import AssignmentRow, EventRow, ParticipationRow, RecordRow
from fedops.server.telemetry.explanations import PICTURE

#: How many records of a device are kept for each run, or of none; what is older goes.
KEPT = {RecordKind.EVENT: 1_000, RecordKind.METRIC: 50_000, RecordKind.TELEMETRY: 100_000}
#: What a record may carry beside its text. Bytes of JSON.
DATA_BYTES, PICTURE_BYTES = 4_096, 256 << 10
_EVENT = re.compile(r"[a-z][a-z0-9_]{0,63}")


def own_runs(session: Session, device_id: str, records: Sequence[DeviceRecord]) -> set[int]:
    """Those of the records' runs in which the device was asked to work."""
    wanted = sorted({record.run_id for record in records if record.run_id is not None})
    if not wanted:
        return set()
    found: set[int] = set()
    for table in (AssignmentRow, ParticipationRow):
        query = select(table.run_id).where(table.device_id == device_id, table.run_id.in_(wanted))
        found |= {run for run in session.scalars(query.distinct()) if run is not None}
    return found


def why_refused(record: DeviceRecord, runs: set[int]) -> str | None:
    """Why a record can never be taken, if it cannot. The device must not send it again."""
    if record.run_id is not None and record.run_id not in runs:
        return f"this device was not asked to work in a run {record.run_id}"
    if record.kind is RecordKind.METRIC and not record.name:
        return "a metric needs a name"
    if record.kind is RecordKind.METRIC and record.value is None:
        return f"the metric '{record.name}' has no value"
    if record.kind is RecordKind.EVENT and not _EVENT.fullmatch(record.name or "event"):
        return (
            f"'{record.name[:80]}' is no name of a device's event, such as 'training_client_ended'"
        )
    limit = PICTURE_BYTES if record.name == PICTURE else DATA_BYTES
    size = len(json.dumps(record.data)) if record.data else 0
    return f"its data has {size} bytes, more than {limit}" if size > limit else None


def make_room(session: Session, device_id: str, subject: str, kept: Sequence[DeviceRecord]) -> None:
    """Remove the oldest of the device's own records where it has more than are kept."""
    session.flush()
    for kind, run_id in sorted({(r.kind, r.run_id) for r in kept}, key=str):
        if kind in KEPT:
            _evict(session, device_id, kind, run_id)
    for run_id in sorted({r.run_id for r in kept if r.kind is RecordKind.EVENT}, key=str):
        _evict_events(session, subject, run_id)


def _evict(session: Session, device_id: str, kind: RecordKind, run_id: int | None) -> None:
    where = (
        RecordRow.device_id == device_id,
        RecordRow.kind == kind.value,
        RecordRow.run_id == run_id if run_id is not None else RecordRow.run_id.is_(None),
    )
    count = session.scalar(select(func.count()).select_from(RecordRow).where(*where)) or 0
    if count <= KEPT[kind]:
        return
    key = (RecordRow.device_id, RecordRow.id)
    oldest = select(*key).where(*where).order_by(RecordRow.received_at, RecordRow.at)
    gone = session.execute(oldest.limit(count - _left(kind))).all()
    session.execute(delete(RecordRow).where(tuple_(*key).in_([tuple(row) for row in gone])))


def _left(kind: RecordKind) -> int:
    """So many stay, so that not every batch has to make room."""
    return KEPT[kind] * 9 // 10


def _evict_events(session: Session, subject: str, run_id: int | None) -> None:
    """What the device told the event log, which is otherwise only appended to."""
    where = (
        EventRow.who == subject,
        EventRow.subject == subject,
        EventRow.run_id == run_id if run_id is not None else EventRow.run_id.is_(None),
        EventRow.name.not_like("device.%"),
    )
    count = session.scalar(select(func.count()).select_from(EventRow).where(*where)) or 0
    if count <= KEPT[RecordKind.EVENT]:
        return
    oldest = select(EventRow.id).where(*where).order_by(EventRow.id)
    gone = session.scalars(oldest.limit(count - _left(RecordKind.EVENT))).all()
    session.execute(delete(EventRow).where(EventRow.id.in_(gone)))
