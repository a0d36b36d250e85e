"""A round's picture, made when it is committed: a byte a device, and how its clients' metrics spread."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.states import AssignmentStatus, ParticipationStatus
from fedops.server.assignments.open_work import FOR_SCORES
from fedops.server.database.tables import (
    AssignmentRow,
    DeviceRow,
    ParticipationRow,
    RoundPictureRow,
    RoundRow,
    RunPlaceRow,
)
from fedops.server.pictures import round_times
from fedops.server.pictures.cells import settled

_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
#: Of how many metrics the spread is kept, at most: those that most clients report.
_MOST_METRICS = 100
_OF_RECEIVED = "eval_"


class Work(NamedTuple):
    """What a device was asked to do in a round: as its last try stands, offered first at ``offered_at``."""

    status: AssignmentStatus
    offered_at: float
    accepted_at: float | None
    sending_at: float | None
    delivered_at: float | None


def place_devices(session: Session, run_id: int, device_ids: Iterable[str]) -> dict[str, int]:
    """Each device of a run has a place, which stays. Returns those of all, by device id."""
    query = select(RunPlaceRow.device_id, RunPlaceRow.place).where(RunPlaceRow.run_id == run_id)
    places = {device_id: place for device_id, place in session.execute(query)}
    for device_id in device_ids:
        if device_id not in places:
            places[device_id] = len(places)
            session.add(RunPlaceRow(run_id=run_id, device_id=device_id, place=places[device_id]))
    return places


def keep_picture(session: Session, row: RoundRow, now: float) -> None:
    """What pages show of a round that is being committed: its clients' parts in it are settled."""
    P = ParticipationRow
    session.flush()
    query = (
        select(P.device_id, P.status, P.seconds, P.bytes_up, P.metrics, DeviceRow.present_until)
        .join(DeviceRow, DeviceRow.id == P.device_id)
        .where(P.run_id == row.run_id, P.round == row.round, P.attempt == row.attempt)
    )
    parts = session.execute(query).all()
    places = place_devices(session, row.run_id, [part.device_id for part in parts])
    work = work_of_round(session, row.run_id, row.round)
    cells, times = bytearray(len(places)), []
    for device_id, status, seconds, _, _, until in parts:
        done = work.get(device_id)
        cells[places[device_id]] = settled(
            status, done.status if done else None, until is not None and until > now
        )
        if done is not None and status is ParticipationStatus.REPLIED:
            took = round_times.client_time(
                device_id,
                seconds,
                done.offered_at,
                done.accepted_at,
                done.sending_at,
                done.delivered_at,
            )
            times += [took] if took is not None else []
    sizes = [part.bytes_up for part in parts if part.bytes_up is not None]
    trained, received = _by_metric([part.metrics for part in parts])
    session.merge(  # a round that is done again has another picture
        RoundPictureRow(
            run_id=row.run_id,
            round=row.round,
            cells=bytes(cells),
            spread=_spread(trained),
            replied=len(sizes),
            bytes_up=sum(sizes),
            slowest=round_times.slowest(times),
        )
    )
    _spread_of_received(session, row, received)


def work_of_round(session: Session, run_id: int, number: int) -> dict[str, Work]:
    """What the devices of a round were asked to do, by device id."""
    A = AssignmentRow
    query = (
        select(A.device_id, A.status, A.offered_at, A.accepted_at, A.sending_at, A.delivered_at)
        .where(A.run_id == run_id, A.round == number, ~FOR_SCORES)
        .order_by(A.offered_at)
    )
    found: dict[str, Work] = {}
    for device_id, status, offered_at, *times in session.execute(query):
        first = found.get(device_id)
        began = first.offered_at if first else offered_at
        found[device_id] = Work(status, began, *times)
    return found


def _spread_of_received(
    session: Session, row: RoundRow, received: Mapping[str, Sequence[float]]
) -> None:
    """The clients evaluated the model they received: it was made by the round before."""
    before = session.get(RoundPictureRow, (row.run_id, row.round - 1)) if received else None
    if before is not None:
        before.spread = {**before.spread, **_spread(received)}


def _by_metric(
    metrics: Sequence[Mapping[str, float]],
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """The values by name: of what the clients trained (``train_...``), and of what they had received."""
    trained, received = defaultdict(list), defaultdict(list)
    for of_client in metrics:
        for name, value in of_client.items():
            if not math.isfinite(value):
                continue
            if name.startswith(_OF_RECEIVED):
                received[name.removeprefix(_OF_RECEIVED)].append(value)
            else:
                trained[name if name.startswith("train_") else f"train_{name}"].append(value)
    return trained, received


def _spread(values: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    kept = sorted(values, key=lambda name: (-len(values[name]), name))[:_MOST_METRICS]
    return {name: [float(q) for q in np.quantile(values[name], _SHARES)] for name in kept}
