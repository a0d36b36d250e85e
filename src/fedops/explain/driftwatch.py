"""Comparing a round's maps with the round before, and the local model with the global one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedops.explain import drift
from fedops.explain.archive import Archive
from fedops.explain.series import DriftRow, Place, Series
from fedops.explain.snapshot import Raw, Snapshot


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
        likeness = drift.compare(pair.first.values[both], pair.second.values[both])
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
