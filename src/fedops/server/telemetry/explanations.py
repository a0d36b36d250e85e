"""What devices let the server know of their explanations: scores, alarms, failures, pictures."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import ExplanationRead, RecordKind
from fedops.core.errors import NotFound
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import DeviceRow, MetricRow, RecordRow

PREFIX = "xai/"
#: What a device calls the events of its explanations.
DRIFT, FAILED, PICTURE = "explanation_drift", "explanation_failed", "explanation_picture"
_PNG = b"\x89PNG\r\n\x1a\n"
_PAGE = 50_000


def list_explanations(session: Session, run_id: int) -> list[ExplanationRead]:
    """One entry for each device and round that anything is known of, in the order of rounds."""
    require_run(session, run_id)
    found: dict[tuple[int, str], ExplanationRead] = {}

    def entry(device: str, round_: int | None) -> ExplanationRead:
        key = round_ or 0, device
        return found.setdefault(key, ExplanationRead(device=device, round=key[0]))

    for device, round_, name, value in _scores(session, run_id):
        entry(device, round_).scores[name] = value
    for record in _events(session, run_id):
        one = entry(record.device, record.round)
        if record.name == DRIFT:
            one.alarms.append(record.text)
        elif record.name == PICTURE:
            one.pictures.append(record.id)
        else:
            one.failures.append(record.text)
    return [found[key] for key in sorted(found)]


@dataclass(frozen=True)
class Explained:
    """How much is known of a run's explanations."""

    #: Whether devices sent scores of them.
    scored: bool
    alarms: int
    failures: int
    pictures: int

    @property
    def anything(self) -> bool:
        return self.scored or self.alarms + self.failures + self.pictures > 0


def summary(session: Session, run_id: int) -> Explained:
    """How much there is to see, without reading it."""
    query = (
        select(RecordRow.name, func.count())
        .where(RecordRow.run_id == run_id, RecordRow.kind == RecordKind.EVENT.value)
        .where(RecordRow.name.in_((DRIFT, FAILED, PICTURE)))
        .group_by(RecordRow.name)
    )
    counts: dict[str, int] = {name: count for name, count in session.execute(query)}
    # A range, which the index answers; a LIKE would read all numbers of the run.
    within = MetricRow.name >= PREFIX, MetricRow.name < PREFIX[:-1] + chr(ord(PREFIX[-1]) + 1)
    scored = select(MetricRow.id).where(MetricRow.run_id == run_id, *within).limit(1)
    return Explained(
        scored=session.scalar(scored) is not None,
        alarms=counts.get(DRIFT, 0),
        failures=counts.get(FAILED, 0),
        pictures=counts.get(PICTURE, 0),
    )


def read_contact_sheet(session: Session, run_id: int, device: str, record_id: str) -> bytes:
    """A contact sheet (PNG) that the device's owner let go.

    Raises:
        NotFound: there is none, or what came is no PNG.
    """
    query = (
        select(RecordRow)
        .join(DeviceRow, DeviceRow.id == RecordRow.device_id)
        .where(RecordRow.run_id == run_id, RecordRow.id == record_id)
        .where(DeviceRow.name == device, RecordRow.name == PICTURE)
    )
    row = session.scalars(query).first()
    try:
        found = base64.b64decode(str(row.data.get("png", "")) if row else "", validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not found.startswith(_PNG):
        raise NotFound(f"run {run_id} has no picture {record_id} of device '{device}'")
    return found


def _scores(session: Session, run_id: int) -> Iterator[tuple[str, int | None, str, float]]:
    query = (
        select(DeviceRow.name, MetricRow.round, MetricRow.name, MetricRow.value)
        .join(DeviceRow, DeviceRow.id == MetricRow.device_id)
        .where(MetricRow.run_id == run_id, MetricRow.name.startswith(PREFIX, autoescape=True))
        .order_by(MetricRow.id)
        .limit(_PAGE)
    )
    for device, round_, name, value in session.execute(query):
        yield device, round_, name.removeprefix(PREFIX), value


def _events(session: Session, run_id: int) -> Any:
    """Rows of device, name, round, text and id: the pictures themselves stay in the table."""
    query = (
        select(
            DeviceRow.name.label("device"),
            RecordRow.name,
            RecordRow.round,
            RecordRow.text,
            RecordRow.id,
        )
        .join(DeviceRow, DeviceRow.id == RecordRow.device_id)
        .where(RecordRow.run_id == run_id, RecordRow.kind == RecordKind.EVENT.value)
        .where(RecordRow.name.in_((DRIFT, FAILED, PICTURE)))
        .order_by(RecordRow.at)
    )
    return session.execute(query)
