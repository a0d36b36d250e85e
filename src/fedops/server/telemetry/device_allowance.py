"""How much one device may report: log lines in a minute, names of metrics in a run. The rest is counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceRecord, RecordKind
from fedops.server.database.tables import RecordRow
from fedops.server.protocol.rates import Rates

#: A line that is longer counts as so many more. Characters.
LINE_CHARACTERS = 256
#: After an outage a device reports what it logged meanwhile: so many minutes' worth may come at once.
BURST_MINUTES = 10.0
#: What is dropped of a device is said once within so long. Seconds.
QUIET_SECONDS = 3_600.0
_MOST_RUNS = 10_000


@dataclass
class Sifted:
    """What of a batch is kept, and how many records of which kind and run are not."""

    kept: list[DeviceRecord] = field(default_factory=list)
    dropped: Counter[tuple[RecordKind, int | None]] = field(default_factory=Counter)


class DeviceAllowance:
    """Used by one thread at a time. It is kept in memory: another process begins anew."""

    def __init__(
        self,
        log_lines: float,
        metric_names: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log_lines, self.metric_names = log_lines, metric_names
        self._clock = clock
        self._lines = Rates(log_lines, burst=log_lines * BURST_MINUTES, clock=clock)
        self._names: dict[tuple[str, int | None], set[str]] = {}
        self._said: dict[tuple[str, RecordKind], float] = {}

    def sift(self, session: Session, device_id: str, records: Sequence[DeviceRecord]) -> Sifted:
        """Take what the device may report out of a batch, in its order."""
        found = Sifted()
        for record in records:
            if self._may(session, device_id, record):
                found.kept.append(record)
            else:
                found.dropped[record.kind, record.run_id] += 1
        return found

    def is_news(self, device_id: str, kind: RecordKind) -> bool:
        """Whether to say now that something of this kind was dropped."""
        now, key = self._clock(), (device_id, kind)
        if now - self._said.get(key, float("-inf")) < QUIET_SECONDS:
            return False
        if len(self._said) >= _MOST_RUNS:
            self._said = {}
        self._said[key] = now
        return True

    def why(self, kind: RecordKind) -> str:
        """What is said of it."""
        if kind is RecordKind.LOG:
            return f"log lines are dropped: it sends more than {self.log_lines:,.0f} a minute"
        return f"metrics are dropped: it has more than {self.metric_names:,} names in one run"

    def _may(self, session: Session, device_id: str, record: DeviceRecord) -> bool:
        match record.kind:
            case RecordKind.LOG:
                if self._lines.wait(device_id):
                    return False
                self._lines.take(device_id, _lines_of(record.text))
            case RecordKind.METRIC:
                names = self._names_of(session, device_id, record.run_id)
                if record.name not in names and len(names) >= self.metric_names:
                    return False
                names.add(record.name)
        return True

    def _names_of(self, session: Session, device_id: str, run_id: int | None) -> set[str]:
        key = (device_id, run_id)
        if key not in self._names:
            if len(self._names) >= _MOST_RUNS:
                self._names = {}
            query = select(RecordRow.name).where(
                RecordRow.device_id == device_id,
                RecordRow.kind == RecordKind.METRIC.value,
                RecordRow.run_id == run_id if run_id is not None else RecordRow.run_id.is_(None),
            )
            self._names[key] = set(session.scalars(query.distinct()))
        return self._names[key]


def _lines_of(text: str) -> int:
    return max(text.count("\n") + 1, -(-len(text) // LINE_CHARACTERS))
