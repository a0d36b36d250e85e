"""The drift series of a device: one JSON line a round and comparison, kept over restarts and runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedops.explain import drift

FILE = "drift.jsonl"


@dataclass(frozen=True)
class Place:
    """Where in the life of a task: which run, which round."""

    run: int
    round: int

    @property
    def order(self) -> tuple[int, int]:
        return self.run, self.round


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
        return drift.is_jump(self.history(row.key, row.place), row.worst)

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
