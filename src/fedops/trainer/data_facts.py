"""What can be told of a device's data without telling any of it: how much there is, whether it is the same,
and how far its inputs have moved since they were first looked at.

All is reckoned from a bounded sample, on the device, of which one example is in memory at a time. The
histograms that inputs are compared with stay there.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from fedops.algorithms.population_stability import Counts, bin_counts, bin_edges, most_moved
from fedops.core.contracts import DataReport
from fedops.core.errors import Invalid
from fedops.scalize.adapter.random_state import seed_everything
from fedops.scalize.flow.datasets import DataSplit, is_pair, take
from fedops.storage.atomic_files import write_atomic
from fedops.trainer.readiness import known_count

Floats = npt.NDArray[np.float64]
#: So many examples are looked at, from all over the data, and so many features of each.
SAMPLE, FEATURES = 2_048, 64
_NO_INDEX = (TypeError, KeyError, IndexError, AttributeError, NotImplementedError, ValueError)


class Baseline(BaseModel):
    """The inputs as they were when they were first looked at for a version. It never leaves the device."""

    version: int
    examples: int
    edges: list[list[float]]
    counts: list[list[int]]


class KeptFacts(BaseModel):
    """What a device keeps of its looks at the data of a task."""

    #: Keys the fingerprints: nobody can guess small data by trying.
    key: str = Field(default_factory=lambda: secrets.token_hex(32))
    fingerprint: str = ""
    baseline: Baseline | None = None

    @classmethod
    def read(cls, file: Path) -> KeptFacts:
        """As it was kept; fresh, where there is nothing that can be read."""
        try:
            return cls.model_validate_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return cls()

    def keep(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(file, self.model_dump_json().encode(), 0o600, durable=False)


def look_at(data: DataSplit, kept: KeptFacts, version: int, *, compares: bool) -> DataReport:
    """Look at the data; notes in ``kept`` what the next look is compared with.

    ``version``: what the inputs are compared for. Another one than the last time begins anew.

    Raises:
        Invalid: there is no data to look at.
    """
    examples, validation = data.examples, known_count(data.validation) or 0
    chosen, count = (data.train, examples) if examples else (data.validation, validation)
    if not count:
        raise Invalid("this device has no example, neither to train on nor to validate with")
    seed_everything(0)  # a data set that draws at random draws the same each time
    seen = _Seen(kept.key, (examples, validation), compares)
    for example in _sample(chosen, count):
        seen.add(example)
    kept.fingerprint = seen.fingerprint
    report = DataReport(
        examples=examples,
        validation_examples=validation,
        fingerprint=kept.fingerprint,
        version=version,
    )
    return _compared(report, kept, seen.features()) if compares else report


class _Seen:
    """What is left of examples that went by: a digest of them all, and a few numbers of each."""

    def __init__(self, key: str, counts: tuple[int, int], compares: bool) -> None:
        self._digest = hmac.new(bytes.fromhex(key), json.dumps(counts).encode(), hashlib.sha256)
        self._compares = compares
        self._count = 0
        self._sizes: set[int] = set()
        self._rows: list[Floats] = []
        self._sums: list[Floats] = []

    def add(self, example: Any) -> None:
        self._count += 1
        for value in _values(example):
            self._digest.update(_bytes(value))
        if self._compares:
            row = _numbers(_inputs(example))
            self._sizes.add(len(row))
            if len(row):
                self._rows.append(_shortened(row))
                self._sums.append(_summed_up(row))

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()

    def features(self) -> Floats:
        """A row for each example, a column for each feature. No column: its inputs are no numbers."""
        if not self._sizes or 0 in self._sizes:
            return np.empty((self._count, 0))
        return np.stack(self._rows if len(self._sizes) == 1 else self._sums)


# --- a sample --------------------------------------------------------------------------------


def _sample(data: Any, count: int) -> Iterable[Any]:
    """Examples from all over the data, always the same ones; the first, where it can only be gone through."""
    places = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64))
    data = getattr(data, "dataset", data)  # of a loader, which may shuffle and make batches
    if hasattr(data, "iloc"):
        return list(data.iloc[places].to_numpy())
    if is_pair(data) or isinstance(data, Mapping) or hasattr(data, "shape"):
        return _rows(take(data, places), len(places))
    try:
        data[int(places[-1])]
    except _NO_INDEX:
        return islice(data, SAMPLE)
    return (data[int(place)] for place in places)


def _rows(columns: Any, count: int) -> list[Any]:
    """Arrays by column as examples: ``(x, y)``, a dict, or rows."""
    if isinstance(columns, tuple):
        x = _rows(columns[0], count)
        return [(x[i], columns[1][i]) for i in range(count)]
    if isinstance(columns, Mapping):
        return [{name: part[i] for name, part in columns.items()} for i in range(count)]
    if isinstance(columns, list):
        return [[part[i] for part in columns] for i in range(count)]
    return [columns[i] for i in range(count)]


def _values(example: Any) -> list[Any]:
    """All that an example consists of, in an order that does not change."""
    if isinstance(example, Mapping):
        return [part for name in sorted(example, key=str) for part in _values(example[name])]
    if isinstance(example, tuple | list):
        return [part for one in example for part in _values(one)]
    return [example]


def _bytes(value: Any) -> bytes:
    if isinstance(value, str | bytes):
        return value.encode() if isinstance(value, str) else value
    array = np.asarray(value)
    if array.dtype == object:
        return repr(value).encode()
    return f"{array.shape}{array.dtype}".encode() + array.tobytes()


# --- features --------------------------------------------------------------------------------


def _shortened(row: Floats) -> Floats:
    """More than ``FEATURES`` values of an example are taken together, neighbours in one mean."""
    if len(row) <= FEATURES:
        return row
    return np.array([part.mean() for part in np.array_split(row, FEATURES)])


def _inputs(example: Any) -> Any:
    """Without the label, where it can be told from them."""
    if isinstance(example, tuple | list) and len(example) == 2:
        return example[0]
    if isinstance(example, Mapping):
        return {k: v for k, v in example.items() if k not in ("label", "labels", "target", "y")}
    return example


def _numbers(inputs: Any) -> Floats:
    found = []
    for value in _values(inputs):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            found.append(array.astype(np.float64).ravel())
    values = np.concatenate(found) if found else np.empty(0)
    return np.nan_to_num(values)


def _summed_up(row: Floats) -> Floats:
    """Of an example of no fixed size: how many values, their mean, their spread."""
    return np.array([len(row), row.mean(), row.std()])


def _compared(report: DataReport, kept: KeptFacts, table: Floats) -> DataReport:
    """With how far the inputs have moved. The first time for a version they become what is compared with."""
    examples, features = table.shape
    known = kept.baseline
    if known is None or known.version != report.version or len(known.edges) != features:
        edges = [bin_edges(column) for column in table.T]
        counts = [bin_counts(*one) for one in zip(table.T, edges, strict=True)]
        known = kept.baseline = Baseline(
            version=report.version,
            examples=examples,
            edges=[one.tolist() for one in edges],
            counts=[one.tolist() for one in counts],
        )
    if not features:
        return report
    now = [bin_counts(c, np.array(e)) for c, e in zip(table.T, known.edges, strict=True)]
    before: list[Counts] = [np.array(one, dtype=np.int64) for one in known.counts]
    psi, chance = most_moved(before, now)
    return report.model_copy(
        update={
            "features": features,
            "compared": examples,
            "compared_with": known.examples,
            "psi": psi,
            "psi_by_chance": chance,
        }
    )
