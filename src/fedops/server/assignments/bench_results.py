"""What became of benchmarks: the last of each device and task, and the estimate that selections go by.

An estimate stays until the next benchmark has one. Why a benchmark has none is kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import BENCH, BenchMeasured
from fedops.core.errors import FedOpsError
from fedops.core.states import AssignmentStatus
from fedops.results.bench_estimate import round_seconds
from fedops.server.database.tables import AssignmentRow, BenchRow
from fedops.storage.payloads import unpack_payload

A = AssignmentStatus
_DELIVERED = (A.UPLOADED, A.CHECKED, A.REJECTED)


def bench_seconds(session: Session, task: str) -> dict[str, float]:
    """How long a round would take the devices of a task, by device id, as far as it was estimated."""
    query = select(BenchRow.device_id, BenchRow.round_seconds).where(
        BenchRow.task == task, BenchRow.round_seconds.is_not(None)
    )
    return {device_id: seconds for device_id, seconds in session.execute(query) if seconds}


def take_result(session: Session, id_: str, data: bytes | None, now: float) -> None:
    """A device delivered what it measured: nobody else checks it."""
    row = session.get(AssignmentRow, id_, populate_existing=True)
    if row is None:
        return
    measured, why = _read(data)
    row.status, row.reason, row.ended_at = (A.REJECTED if why else A.CHECKED), why, now
    values: dict[str, object] = {"status": row.status, "reason": why}
    if measured is not None:
        plain, seconds = measured.model_dump(exclude_none=True), round_seconds(measured)
        values |= {"measured": plain, "round_seconds": seconds, "measured_at": now}
    _note(session, [id_], values)


def _read(data: bytes | None) -> tuple[BenchMeasured | None, str]:
    """What was measured, or why it cannot be read."""
    if data is None:
        return None, "the result of a benchmark is numbers only, no file"
    try:
        record = unpack_payload(data).metrics.get(BENCH, {})
        return BenchMeasured.from_values(dict(record)), ""
    except (FedOpsError, ValueError):
        return None, "the device sent numbers that are none of a benchmark"


def note_ends(session: Session, rows: Sequence[AssignmentRow]) -> None:
    """Some of these may be benchmarks that ended without a result."""
    for row in rows:
        if row.run_id is None and row.kind == BENCH and row.status not in _DELIVERED:
            _note(session, [row.id], {"status": row.status, "reason": row.reason})


def _note(session: Session, ids: Iterable[str], values: dict[str, object]) -> None:
    """Of the last benchmarks only: an older one says nothing any more."""
    session.execute(
        update(BenchRow).where(BenchRow.assignment.in_(ids)).values(values),
        execution_options={"synchronize_session": False},
    )
