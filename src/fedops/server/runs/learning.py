"""How runs learn: what each committed round measured of its model, and what single clients said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.server.database.tables import DeviceRow, MetricRow, RoundPictureRow, RoundRow

#: So many numbers of single clients are read for a picture at most: of larger runs, none.
MOST_VALUES = 4_000


@dataclass(frozen=True)
class Measured:
    """A committed round."""

    round: int
    #: When it was committed. POSIX seconds.
    at: float
    #: By name; what the clients measured in training is named ``train_...``.
    metrics: Mapping[str, float]


def measured_rounds(session: Session, run_id: int) -> list[Measured]:
    """The committed rounds of a run, without its clients. The server's own figures win."""
    columns = (
        RoundRow.round,
        RoundRow.committed_at,
        RoundRow.metrics,
        RoundRow.client_metrics,
        RoundRow.train_metrics,
    )
    where = RoundRow.run_id == run_id, RoundRow.committed_at.is_not(None)
    query = select(*columns).where(*where).order_by(RoundRow.round)
    return [
        Measured(number, at or 0.0, {**_trained(trained), **of_clients, **own})
        for number, at, own, of_clients, trained in session.execute(query)
    ]


def _trained(metrics: Mapping[str, float]) -> dict[str, float]:
    return {n if n.startswith("train_") else f"train_{n}": v for n, v in metrics.items()}


def client_spread(session: Session, run_id: int, name: str) -> dict[int, tuple[float, float]]:
    """Between which two values the middle eight tenths of the clients were, by round."""
    if '"' in name:  # no database looks up such a name in JSON
        return {}
    spread = RoundPictureRow.spread[name].as_json()
    query = select(RoundPictureRow.round, spread).where(RoundPictureRow.run_id == run_id)
    # Smallest, 10 %, 25 %, median, 75 %, 90 %, largest.
    return {number: (found[1], found[5]) for number, found in session.execute(query) if found}


def client_values(session: Session, run_id: int, name: str) -> dict[str, dict[int, float]] | None:
    """What each client said of a metric, by device and round. None: it is more than a picture takes."""
    of_metric = MetricRow.run_id == run_id, MetricRow.name == name
    # An index answers this, however many there are.
    too_many = select(MetricRow.round).where(*of_metric).offset(MOST_VALUES).limit(1)
    if session.execute(too_many).first() is not None:
        return None
    query = select(MetricRow.device_id, MetricRow.round, MetricRow.value).where(*of_metric)
    said = [
        (device_id, number, value)
        for device_id, number, value in session.execute(query)
        if device_id is not None and number is not None
    ]
    names = _names(session, {device_id for device_id, _, _ in said})
    found: dict[str, dict[int, float]] = {}
    for device_id, number, value in said:
        found.setdefault(names[device_id], {})[number] = value
    return dict(sorted(found.items()))


def _names(session: Session, ids: set[str]) -> dict[str, str]:
    query = select(DeviceRow.id, DeviceRow.name).where(DeviceRow.id.in_(list(ids)[:500]))
    names: dict[str, str] = {one: name for one, name in session.execute(query)}
    return {one: names.get(one, one) for one in ids}
