"""Who did what: the devices of a run by its rounds, a byte a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from fedops.core.states import ParticipationStatus
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import (
    DeviceRow,
    ParticipationRow,
    RoundPictureRow,
    RoundRow,
    RunPlaceRow,
)
from fedops.server.pictures import round_pictures
from fedops.server.pictures.cells import TROUBLE, Cell, settled, under_way
from fedops.server.pictures.round_times import ClientTime

#: No more cells are shown: of a run with more, its newest rounds.
_MOST_CELLS, _FEWEST_ROUNDS = 1_000_000, 20
#: Rounds of before there were pictures are read from their clients' rows: so many rows, the newest.
_MOST_ROWS = 20_000
#: By the number of a cell.
_IS_TROUBLE = np.isin(np.arange(256), TROUBLE)


@dataclass(frozen=True)
class Grid:
    """The newest rounds of a run."""

    #: By place.
    devices: list[str]
    #: Ascending, with the cells of each by place. Devices that came later are missing at its end.
    columns: dict[int, bytes]
    #: The round that is not committed yet.
    open: int | None


class Troubled(NamedTuple):
    """A device of whose work something did not count."""

    device: str
    #: In how many rounds, of how many that it was asked in.
    rounds: int
    asked: int
    #: The last of them, and what it was.
    last: int
    cell: Cell
    reason: str = ""


def read_grid(session: Session, run_id: int, newest: int | None = None) -> Grid:
    """The rounds of a run; ``newest``: the last so many. ``NotFound``: there is no such run."""
    require_run(session, run_id)
    devices = _devices(session, run_id)
    most = newest or max(_MOST_CELLS // max(len(devices), 1), _FEWEST_ROUNDS)
    R, B = RoundRow, RoundPictureRow
    query = (
        select(R.round, R.attempt, R.committed_at, B.cells)
        .outerjoin(B, and_(B.run_id == R.run_id, B.round == R.round))
        .where(R.run_id == run_id)
        .order_by(R.round.desc())
        .limit(most)
    )
    rows = session.execute(query).all()
    missing = {row.round: row.attempt for row in rows if row.cells is None}
    made = _from_rows(session, run_id, missing, {row.round for row in rows if row.committed_at})
    found = {row.round: row.cells or made.get(row.round, b"") for row in reversed(rows)}
    open_ = next((row.round for row in rows if row.committed_at is None), None)
    return Grid(devices, found, open_)


def cells_of(grid: Grid) -> np.ndarray:
    """All cells, devices by rounds."""
    size = len(grid.devices)
    whole = b"".join(cells[:size].ljust(size, b"\0") for cells in grid.columns.values())
    return np.frombuffer(whole, np.uint8).reshape(len(grid.columns), size).T


def kinds_of(grid: Grid) -> list[Cell]:
    """Which kinds of cells it has, in the order of their numbers."""
    counts = np.bincount(np.frombuffer(b"".join(grid.columns.values()), np.uint8))
    return [cell for cell in Cell if cell < len(counts) and counts[cell]]


def in_trouble(grid: Grid) -> list[Troubled]:
    """The devices in trouble, those in most rounds first; reasons are not looked up."""
    by_round, numbers = cells_of(grid).T, list(grid.columns)
    bad = _IS_TROUBLE[by_round]
    counts, asked = bad.sum(axis=0), (by_round != Cell.NOT_ASKED).sum(axis=0)
    places = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    last = len(numbers) - 1 - bad[::-1, places].argmax(axis=0) if len(places) else places
    kinds = by_round[last, places]
    columns = (one.tolist() for one in (places, counts[places], asked[places], last, kinds))
    return [
        Troubled(grid.devices[place], rounds, of, numbers[at], Cell(kind))
        for place, rounds, of, at, kind in zip(*columns, strict=True)
    ]


def reasons_of(
    session: Session, run_id: int, wanted: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], str]:
    """Why a device did not count in a round, by name and round, as far as it was said."""
    P = ParticipationRow
    query = (
        select(DeviceRow.name, P.round, P.reason)
        .join(DeviceRow, DeviceRow.id == P.device_id)
        .where(
            P.run_id == run_id,
            P.round.in_({number for _, number in wanted}),
            DeviceRow.name.in_({name for name, _ in wanted}),
            P.reason.is_not(None),
        )
        .order_by(P.attempt)
    )
    return {(name, number): reason or "" for name, number, reason in session.execute(query)}


def slowest_clients(session: Session, run_id: int, number: int) -> list[ClientTime]:
    """Where the time of a committed round's slowest clients went, by their names, slowest first."""
    row = session.get(RoundPictureRow, (run_id, number))
    times = [ClientTime(**one) for one in (row.slowest if row else [])]
    query = select(DeviceRow.id, DeviceRow.name).where(DeviceRow.id.in_([t.device for t in times]))
    names = {device_id: name for device_id, name in session.execute(query)}
    return [replace(one, device=names[one.device]) for one in times]


def _devices(session: Session, run_id: int) -> list[str]:
    query = (
        select(DeviceRow.name)
        .join(RunPlaceRow, RunPlaceRow.device_id == DeviceRow.id)
        .where(RunPlaceRow.run_id == run_id)
        .order_by(RunPlaceRow.place)
    )
    return list(session.scalars(query))


def _from_rows(
    session: Session, run_id: int, attempts: Mapping[int, int], committed: set[int]
) -> dict[int, bytes]:
    """The cells of rounds that have no picture, of the attempts that began them last."""
    if not attempts:
        return {}
    P, L = ParticipationRow, RunPlaceRow
    query = (
        select(P.round, P.attempt, P.device_id, P.status, L.place)
        .join(L, and_(L.run_id == P.run_id, L.device_id == P.device_id))
        .where(P.run_id == run_id, P.round.in_(sorted(attempts)[-_FEWEST_ROUNDS:]))
        .order_by(P.round.desc())
        .limit(_MOST_ROWS)
    )
    rows = [row for row in session.execute(query) if row.attempt == attempts[row.round]]
    works = {
        n: round_pictures.work_of_round(session, run_id, n) for n in attempts.keys() - committed
    }
    found: dict[int, bytearray] = defaultdict(bytearray)
    for number, _, device_id, status, place in rows:
        column = found[number]
        column.extend(bytes(max(place + 1 - len(column), 0)))
        work = works.get(number, {}).get(device_id)
        column[place] = _cell(status, number in committed, work)
    return {number: bytes(column) for number, column in found.items()}


def _cell(
    status: ParticipationStatus, is_committed: bool, work: round_pictures.Work | None
) -> Cell:
    how = work.status if work else None
    if is_committed or status is not ParticipationStatus.SELECTED:
        return settled(status, how)
    return under_way(how)
