"""What devices report through their spools: metrics, events, logs, telemetry. Each counts once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceRecord, RecordBatch, RecordKind, RecordsAccepted
from fedops.core.errors import Forbidden
from fedops.core.states import Enrolment
from fedops.failpoints import reached
from fedops.server.database.tables import DeviceRow, MetricRow, RecordRow
from fedops.server.events import event_log
from fedops.server.telemetry import log_store, record_limits
from fedops.server.telemetry.device_allowance import DeviceAllowance, Sifted

#: SQLite takes a limited number of values in one statement.
_CHUNK = 500


def ingest_records(
    session: Session,
    device_id: str,
    body: RecordBatch,
    allowance: DeviceAllowance,
    log_bytes: int,
    now: float,
) -> RecordsAccepted:
    """Keep the records that are new. Delivering a batch again is harmless.

    ``log_bytes`` bounds what is kept of the logs of each run.
    """
    # Locks the device on databases that can (SQLite has one writer anyway): batches come one by one.
    query = select(DeviceRow).where(DeviceRow.id == device_id).with_for_update()
    device = session.scalars(query).one()
    if device.enrolment not in (Enrolment.APPROVED, Enrolment.QUARANTINED):
        raise Forbidden(
            f"device '{device.name}' is {device.enrolment.value}: nothing is taken from it"
        )
    fresh = _fresh(session, device_id, body.records)
    runs = record_limits.own_runs(session, device_id, fresh)
    problems = {r.id: why for r in fresh if (why := record_limits.why_refused(r, runs))}
    sifted = allowance.sift(session, device_id, [r for r in fresh if r.id not in problems])
    good = sifted.kept
    _note_dropped(session, device, sifted, allowance, now)
    for record in good:
        if record.kind is not RecordKind.LOG:
            _keep(session, device, record, now)
    lines = [log_store.device_entry(device, r, now) for r in good if r.kind is RecordKind.LOG]
    known = len(lines) - log_store.store_entries(session, lines, log_bytes)
    record_limits.make_room(session, device_id, f"device {device.name}", good)
    accepted = len(good) - known
    reached("server.records.inside")
    return RecordsAccepted(
        accepted=accepted,
        duplicates=len(body.records) - len(fresh) + known,
        refused=[f"{record_id}: {why}" for record_id, why in problems.items()],
        dropped=sifted.dropped.total(),
    )


def _note_dropped(
    session: Session, device: DeviceRow, sifted: Sifted, allowance: DeviceAllowance, now: float
) -> None:
    """Count what was dropped, and say so once in a while."""
    for (kind, run_id), count in sifted.dropped.items():
        if kind is RecordKind.LOG:
            book = f"run {run_id}" if run_id is not None else f"device {device.id}"
            log_store.count_dropped(session, book, count)
        if allowance.is_news(device.id, kind):
            subject, why = f"device {device.name}", allowance.why(kind)
            event_log.append_event(
                session, now, event_log.SERVER, subject, "device.records_dropped", why, run_id
            )


def _fresh(session: Session, device_id: str, records: Sequence[DeviceRecord]) -> list[DeviceRecord]:
    by_id = {record.id: record for record in records}
    ids = list(by_id)
    for begin in range(0, len(ids), _CHUNK):
        chunk = ids[begin : begin + _CHUNK]
        query = select(RecordRow.id).where(
            RecordRow.device_id == device_id, RecordRow.id.in_(chunk)
        )
        for known in session.scalars(query):
            del by_id[known]
    return list(by_id.values())


def _keep(session: Session, device: DeviceRow, record: DeviceRecord, now: float) -> None:
    values = record.model_dump(exclude={"age_seconds", "kind"})
    at = now - record.age_seconds
    session.add(
        RecordRow(device_id=device.id, kind=record.kind.value, at=at, received_at=now, **values)
    )
    if record.kind is RecordKind.METRIC and record.run_id is not None:
        _keep_metric(session, device, record, at)
    if record.kind is RecordKind.EVENT:
        subject = f"device {device.name}"
        told = {key: value for key, value in record.data.items() if key != "png"}
        name, data = record.name or "event", {"reported": told}
        event_log.append_event(
            session, at, subject, subject, name, record.text, record.run_id, **data
        )


def _keep_metric(session: Session, device: DeviceRow, record: DeviceRecord, at: float) -> None:
    """One row for each metric of a round: a round done again replaces what was said of it before."""
    same = (
        MetricRow.run_id == record.run_id,
        MetricRow.name == record.name,
        MetricRow.round == record.round,
        MetricRow.source == "device",
        MetricRow.device_id == device.id,
    )
    query = select(MetricRow).where(*same)
    if record.round is not None and (before := session.scalars(query).first()) is not None:
        before.value, before.at = record.value or 0.0, at
        return
    session.add(
        MetricRow(
            run_id=record.run_id,
            round=record.round,
            device_id=device.id,
            source="device",
            name=record.name,
            value=record.value,
            at=at,
        )
    )
