"""What devices let the server know of their explanations: scores, alarms, failures, pictures."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from fedops.core.contracts import ExplanationRead, RecordKind
from fedops.core.errors import NotFound
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import DeviceRow, MetricRow, RecordRow, RunRow

PREFIX = "xai/"
#: What a device calls the events of its explanations.
DRIFT, FAILED, PICTURE = "explanation_drift", "explanation_failed", "explanation_picture"
_PNG = b"\x89PNG\r\n\x1a\n"
_PAGE = 50_000
_IS_SCORE = (MetricRow.name >= PREFIX, MetricRow.name < "xai0")  # by the index: "0" follows "/"
_IS_EVENT = (
    RecordRow.kind == RecordKind.EVENT.value,
    RecordRow.name.in_((DRIFT, FAILED, PICTURE)),
)


class ExplanationAlarm(NamedTuple):
    """A drift series that jumped."""

    run_id: int | None
    device: str
    round: int | None
    text: str
    #: POSIX seconds.
    at: float


@dataclass(frozen=True)
class _Only:
    """Of which round and device. None: of all."""

    round: int | None
    device: str | None

    def of(self, column: InstrumentedAttribute[int | None]) -> list[ColumnElement[bool]]:
        """As conditions on a table that has a column of rounds and is joined with devices."""
        rounds = [] if self.round is None else [func.coalesce(column, 0) == self.round]
        return rounds if self.device is None else [*rounds, DeviceRow.name == self.device]


def list_explanations(
    session: Session, run_id: int, round_: int | None = None, device: str | None = None
) -> list[ExplanationRead]:
    """One entry for each device and round that anything is known of, in the order of rounds.

    ``round_``, ``device``: only of these.
    """
    require_run(session, run_id)
    only = _Only(round_, device)
    found: dict[tuple[int, str], ExplanationRead] = {}

    def entry(whose: str, number: int | None) -> ExplanationRead:
        key = number or 0, whose
        return found.setdefault(key, ExplanationRead(device=whose, round=key[0]))

    for whose, number, name, value in _scores(session, run_id, only):
        entry(whose, number).scores[name] = value
    for record in _events(session, run_id, only):
        one = entry(record.device, record.round)
        if record.name == DRIFT:
            one.alarms.append(record.text)
        elif record.name == PICTURE:
            one.pictures.append(record.id)
        else:
            one.failures.append(record.text)
    return [found[key] for key in sorted(found)]


def newest_alarms(session: Session, run_ids: Sequence[int], limit: int) -> list[ExplanationAlarm]:
    """The newest drift series that jumped in these runs, the newest first."""
    query = (
        select(RecordRow.run_id, DeviceRow.name, RecordRow.round, RecordRow.text, RecordRow.at)
        .join(DeviceRow, DeviceRow.id == RecordRow.device_id)
        .where(RecordRow.run_id.in_(run_ids), RecordRow.kind == RecordKind.EVENT.value)
        .where(RecordRow.name == DRIFT)
        .order_by(RecordRow.at.desc())
        .limit(limit)
    )
    return [
        ExplanationAlarm(run_id or 0, device, round_, text, at)
        for run_id, device, round_, text, at in session.execute(query)
    ]


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


def explained_runs(session: Session, run_ids: Sequence[int]) -> list[int]:
    """Those of these runs that any explanation is known of, the newest first."""
    metric = (MetricRow.run_id == RunRow.id, *_IS_SCORE)
    event = (RecordRow.run_id == RunRow.id, *_IS_EVENT)
    known = or_(
        select(MetricRow.id).where(*metric).exists(), select(RecordRow.id).where(*event).exists()
    )
    query = select(RunRow.id).where(RunRow.id.in_(run_ids), known).order_by(RunRow.id.desc())
    return list(session.scalars(query))


def explained_rounds(session: Session, run_id: int) -> list[int]:
    """The rounds that explanations of a run are known of, ascending (0: before any training)."""
    scored = select(func.coalesce(MetricRow.round, 0)).where(
        MetricRow.run_id == run_id, MetricRow.name == f"{PREFIX}seconds"
    )
    told = select(func.coalesce(RecordRow.round, 0)).where(RecordRow.run_id == run_id, *_IS_EVENT)
    return sorted({*session.scalars(scored.distinct()), *session.scalars(told.distinct())})


def score_over_rounds(
    session: Session, run_id: int, name: str, devices: Collection[str], since: int = 0
) -> dict[str, dict[int, float]]:
    """A score of these devices (``local_over_rounds/gradcam/worst``) by device and round."""
    query = (
        select(DeviceRow.name, MetricRow.round, MetricRow.value)
        .join(DeviceRow, DeviceRow.id == MetricRow.device_id)
        .where(MetricRow.run_id == run_id, MetricRow.name == PREFIX + name)
        .where(MetricRow.round >= since, DeviceRow.name.in_(devices))
        .order_by(MetricRow.round)
        .limit(_PAGE)
    )
    found: dict[str, dict[int, float]] = {name: {} for name in devices}
    for device, number, value in session.execute(query):
        found[device][number or 0] = value
    return found


def alarms_of_run(session: Session, run_id: int, limit: int = 50) -> list[tuple[str, int, str]]:
    """The newest alarms of a run: device, round, and the sentence."""
    query = (
        select(DeviceRow.name, func.coalesce(RecordRow.round, 0), RecordRow.text)
        .join(DeviceRow, DeviceRow.id == RecordRow.device_id)
        .where(RecordRow.run_id == run_id, RecordRow.kind == RecordKind.EVENT.value)
        .where(RecordRow.name == DRIFT)
        .order_by(RecordRow.at.desc())
        .limit(limit)
    )
    return [(device, number, text) for device, number, text in session.execute(query)]


def _scores(
    session: Session, run_id: int, only: _Only
) -> Iterator[tuple[str, int | None, str, float]]:
    query = (
        select(DeviceRow.name, MetricRow.round, MetricRow.name, MetricRow.value)
        .join(DeviceRow, DeviceRow.id == MetricRow.device_id)
        .where(MetricRow.run_id == run_id, *_IS_SCORE, *only.of(MetricRow.round))
        .order_by(MetricRow.id)
        .limit(_PAGE)
    )
    for device, round_, name, value in session.execute(query):
        yield device, round_, name.removeprefix(PREFIX), value


def _events(session: Session, run_id: int, only: _Only) -> Any:
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
        .where(RecordRow.run_id == run_id, *_IS_EVENT, *only.of(RecordRow.round))
        .order_by(RecordRow.at)
    )
    return session.execute(query)
