"""How much explanations of the same probes differ: between rounds, and between local and global model.

On raw maps: the cosine, the Jaccard index of the top tenth of cells, and Spearman's rank correlation.
Two flat maps are the same (1); a flat one and another have nothing in common (0). The series of a device
is one JSON line a round and comparison, kept over restarts and runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.explain.quality.history import Archive, Place, Raw, Snapshot

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
TOP = 0.1
WORST = 0.125
#: A series needs this many values before a jump can be told from its usual course.
WARM_UP = 2
#: A jump is at least this many times the usual distance, and at least this much more.
TIMES, LEAST = 2.0, 0.1
_MEMORY = 10


@dataclass(frozen=True)
class Similarity:
    """Means over the samples that were compared."""

    cosine: float
    jaccard: float
    spearman: float
    #: The mean 1 - cosine of the samples that changed most: what an alarm looks at, because a
    #: shortcut shows in the samples that have it, which may be few.
    worst: float
    samples: int


def compare_maps(first: Array, second: Array) -> Similarity | None:
    """How alike two sets of maps [samples, ...] are. None without samples or with other sizes."""
    if len(first) == 0 or first.shape != second.shape:
        return None
    a, b = first.reshape(len(first), -1), second.reshape(len(second), -1)
    cosines = cosine(a, b)
    few = max(1, round(WORST * len(a)))
    return Similarity(
        float(cosines.mean()),
        float(jaccard(a, b).mean()),
        float(spearman(a, b).mean()),
        float(1.0 - np.sort(cosines)[:few].mean()),
        len(a),
    )


def cosine(a: Array, b: Array) -> Floats:
    """Of each row of ``a`` and the same row of ``b``."""
    return _cosine(a.astype(np.float64), b.astype(np.float64))


def spearman(a: Array, b: Array) -> Floats:
    """The correlation of the ranks in each row; equal values share the mean of their ranks."""
    first, second = (_ranks(values) for values in (a, b))
    middle = (a.shape[1] + 1) / 2
    return _cosine(first - middle, second - middle)


def jaccard(a: Array, b: Array, share: float = TOP) -> Floats:
    """Of the cells in either top share of a row, how many are in both. Cells without heat are in none."""
    first, second = _top(a, share), _top(b, share)
    either = (first | second).sum(1)
    both = (first & second).sum(1)
    alike = both / np.maximum(either, 1)
    return np.where(either == 0, 1.0, alike)


def is_jump(history: Sequence[float], distance: float) -> bool:
    """Whether a distance leaves the usual course of its series (the newest last).

    Models and their maps change much in the first rounds, and less and less later: a decline is usual.
    """
    limit = jump_limit(history)
    return limit is not None and distance > limit


def jump_limit(history: Sequence[float]) -> float | None:
    """Above which distance the next of a series is a jump. None: too few are known."""
    if len(history) < WARM_UP:
        return None
    usual = float(np.median(history[-_MEMORY:]))
    return max(TIMES * usual, usual + LEAST)


def _cosine(a: Floats, b: Floats) -> Floats:
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    flat = lengths[0] == 0, lengths[1] == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = a / lengths[0][:, None], b / lengths[1][:, None]
        found = np.clip((unit[0] * unit[1]).sum(1), -1.0, 1.0)
    alike: Floats = np.where(flat[0] | flat[1], (flat[0] & flat[1]).astype(np.float64), found)
    return alike


def _top(values: Array, share: float) -> npt.NDArray[np.bool_]:
    count = max(1, round(share * values.shape[1]))
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    marks = np.zeros(values.shape, np.bool_)
    np.put_along_axis(marks, order, True, axis=1)
    return np.asarray(marks & (values > values.min(axis=1, keepdims=True)))


def _ranks(values: Array) -> Floats:
    """Ranks from 1 in each row; equal values share the mean of theirs."""
    order = np.argsort(values, axis=1, kind="stable")
    in_order = np.take_along_axis(values, order, axis=1)
    rises = in_order[:, 1:] != in_order[:, :-1]
    edge = np.ones((len(values), 1), np.bool_)
    places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    first = np.maximum.accumulate(np.where(np.hstack([edge, rises]), places, 0), axis=1)
    ends = np.where(np.hstack([rises, edge]), places, values.shape[1])
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape, np.float64)
    np.put_along_axis(ranks, order, (first + last) / 2.0 + 1.0, axis=1)
    return ranks


FILE = "drift.jsonl"


@dataclass(frozen=True)
class DriftRow:
    """One comparison of explanations of the same probes."""

    run: int
    round: int
    method: str
    #: "global over rounds", "local over rounds" or "local to global"
    series: str
    #: The run and round compared with; the same for "local to global".
    since: tuple[int, int]
    probe: str
    layer: str
    cosine: float
    jaccard: float
    spearman: float
    worst: float
    samples: int
    alarm: bool

    @property
    def key(self) -> tuple[str, ...]:
        """Rows with the same key belong to one series: other probes or layers start a new one."""
        return self.series, self.method, self.probe, self.layer

    @property
    def place(self) -> Place:
        return Place(self.run, self.round)

    def plain(self) -> dict[str, Any]:
        """JSON-safe values."""
        rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**rounded, "since": list(self.since)}


class Series:
    """All rows of a device, read once and appended to. Without a folder, none but the new ones."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE if folder else None
        self.rows = list(_read(self._path)) if self._path else []

    def history(self, key: tuple[str, ...], before: Place) -> list[float]:
        """The worst distances of a series before a place, in order. A repeated round counts once."""
        found = {
            row.place.order: row.worst
            for row in self.rows
            if row.key == key and row.place.order < before.order
        }
        return [found[order] for order in sorted(found)]

    def is_jump(self, row: DriftRow) -> bool:
        """Whether a new row leaves the usual course of its series."""
        return is_jump(self.history(row.key, row.place), row.worst)

    def append(self, rows: Iterable[DriftRow]) -> None:
        """Keep rows, in memory and in the file."""
        new = list(rows)
        self.rows.extend(new)
        lines = "".join(json.dumps(row.plain()) + "\n" for row in new)
        if lines and self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(lines)


def _read(path: Path) -> Iterable[DriftRow]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            data = json.loads(line)
            yield DriftRow(**{**data, "since": tuple(data["since"])})
        except (ValueError, TypeError, KeyError):
            continue  # the last line of a process that was killed


@dataclass(frozen=True)
class _Pair:
    """Two sets of maps to be compared."""

    series: str
    since: Place
    method: str
    first: Raw
    second: Raw


class Watch:
    """Remembers the last round, from the archive after a restart, and the series of all rounds.

    Without an archive nothing is remembered or kept.
    """

    def __init__(self, archive: Archive | None) -> None:
        self._archive = archive
        self._series = Series(archive.folder if archive else None)
        self._last: tuple[Place, Snapshot] | None = None

    def look(self, place: Place, now: Snapshot, yardstick: str) -> list[DriftRow]:
        """The new rows of all series, kept. Alarms are raised on the maps of one method only."""
        rows = [self._row(place, now, pair) for pair in self._pairs(place, now)]
        found = [
            replace(row, alarm=row.method == yardstick and self._series.is_jump(row))
            for row in rows
            if row is not None
        ]
        self._series.append(found)
        self._last = (place, now)
        return found

    def _pairs(self, place: Place, now: Snapshot) -> list[_Pair]:
        """Maps of the true class: it is the same in every round and for every model."""
        pairs = []
        before = self._before(place, now)
        for (model, method, role), raw in now.maps.items():
            if role != "true":
                continue
            earlier = before[1].maps.get((model, method, role)) if before else None
            if before and earlier:
                pairs.append(_Pair(f"{model} over rounds", before[0], method, earlier, raw))
            other = now.maps.get(("global", method, role))
            if model == "local" and other:
                pairs.append(_Pair("local to global", place, method, other, raw))
        return pairs

    def _before(self, place: Place, now: Snapshot) -> tuple[Place, Snapshot] | None:
        """The round before, of the same probes and layer."""
        if self._last is None or self._last[0].order >= place.order:
            self._last = self._archive.load_before(place) if self._archive else None
        if self._last is None:
            return None
        same = (self._last[1].probe, self._last[1].layer) == (now.probe, now.layer)
        return self._last if same else None

    def _row(self, place: Place, now: Snapshot, pair: _Pair) -> DriftRow | None:
        """None when there is no sample that both explain."""
        both = pair.first.done & pair.second.done
        likeness = compare_maps(pair.first.values[both], pair.second.values[both])
        if likeness is None:
            return None
        return DriftRow(
            run=place.run,
            round=place.round,
            method=pair.method,
            series=pair.series,
            since=pair.since.order,
            probe=now.probe,
            layer=now.layer,
            **vars(likeness),
            alarm=False,
        )
