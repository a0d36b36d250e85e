"""What devices found when they looked at their data: the newest of each device and task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import WATCH, DataReport
from fedops.core.errors import FedOpsError
from fedops.core.states import AssignmentStatus
from fedops.server.database.tables import AssignmentRow, DataRow
from fedops.storage.payloads import unpack_payload

A = AssignmentStatus
_DELIVERED = (A.UPLOADED, A.CHECKED, A.REJECTED)
#: The record of a result with what the model achieved.
METRICS = "metrics"


def take_result(session: Session, id_: str, data: bytes | None, now: float) -> None:
    """A device delivered what it found: nobody else checks it."""
    row = session.get(AssignmentRow, id_, populate_existing=True)
    if row is None:
        return
    report, why = _read(data)
    row.status, row.reason, row.ended_at = (A.REJECTED if why else A.CHECKED), why, now
    known = _of(session, id_)
    if known is None:
        return
    known.problem = why
    if report is not None:
        plain = report.model_dump(mode="json")
        known.baseline = _baseline(known.baseline, plain)
        known.report, known.reported_at = plain, now


def _baseline(before: dict[str, Any] | None, report: dict[str, Any]) -> dict[str, Any]:
    """The first report about a version; a metric that nobody asked for then is taken from the next."""
    if before is None or before.get("version") != report["version"]:
        return report
    return {**before, "metrics": {**report["metrics"], **before["metrics"]}}


def _read(data: bytes | None) -> tuple[DataReport | None, str]:
    """What was found, or why it cannot be read."""
    if data is None:
        return None, "what a device finds in its data is numbers only, no file"
    try:
        found = unpack_payload(data)
        record, metrics = found.configs.get(WATCH, {}), found.metrics.get(METRICS, {})
        return DataReport.from_values(dict(record), dict(metrics)), ""
    except (FedOpsError, ValueError):
        return None, "the device sent what is no report on its data"


def note_ends(session: Session, rows: Sequence[AssignmentRow]) -> None:
    """Some of these may have been to look at data, and ended without a result."""
    for row in rows:
        if row.run_id is None and row.kind == WATCH and row.status not in _DELIVERED:
            known = _of(session, row.id)
            if known is not None:
                known.problem = row.reason or row.status.value


def _of(session: Session, id_: str) -> DataRow | None:
    """Of the last looks only: an older one says nothing any more."""
    return session.scalars(select(DataRow).where(DataRow.assignment == id_)).one_or_none()
