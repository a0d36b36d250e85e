"""What a device tells of its data: the same for the same data, and none of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedops.core.errors import Invalid
from fedops.scalize.flow.datasets import DataSplit
from fedops.trainer.data_facts import KeptFacts, look_at

RANDOM = np.random.default_rng(3)
X, Y = RANDOM.normal(size=(500, 4)), RANDOM.integers(0, 2, size=500)


class Items:
    """An indexable data set of examples."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return self.x[index], self.y[index]


def split(train: Any, examples: int = 500) -> DataSplit:
    return DataSplit(train=train, validation=None, dataset="d", examples=examples)


@pytest.mark.parametrize(
    "train",
    [
        (X, Y),
        Items(X, Y),
        {"x": X, "label": Y},
        Items([{"a": 1.0, "text": "words"}] * 500, Y),
        X,
    ],
)
def test_the_same_data_has_the_same_fingerprint_and_has_not_moved(train: Any) -> None:
    kept = KeptFacts()
    first = look_at(split(train), kept, 3, compares=True)
    again = look_at(split(train), kept, 3, compares=True)
    assert first == again
    assert (first.examples, first.psi, first.compared) == (500, 0.0, 500)
    other = look_at(split(train), KeptFacts(), 3, compares=True)
    assert other.fingerprint != first.fingerprint, "each device has a key of its own"


def test_one_other_value_is_noticed_and_inputs_that_moved_are() -> None:
    kept = KeptFacts()
    first = look_at(split((X, Y)), kept, 3, compares=True)
    changed = X.copy()
    changed[0, 0] += 1e-9
    second = look_at(split((changed, Y)), kept, 3, compares=True)
    assert second.fingerprint != first.fingerprint
    moved = X.copy()
    moved[:, 2] += 2
    third = look_at(split((moved, Y)), kept, 3, compares=True)
    assert third.psi is not None
    assert third.psi - third.psi_by_chance > 1
    anew = look_at(split((moved, Y)), kept, 4, compares=True)
    assert anew.psi == 0.0, "it is compared for another version"


def test_images_and_sequences_have_few_features() -> None:
    images = RANDOM.random((100, 28, 28))
    report = look_at(split((images, Y[:100]), 100), KeptFacts(), 1, compares=True)
    assert report.features == 64
    sequences = [RANDOM.random(size) for size in range(5, 105)]
    report = look_at(split(Items(sequences, Y), 100), KeptFacts(), 1, compares=True)
    assert report.features == 3


def test_one_example_is_in_memory_at_a_time() -> None:
    class Large(Items):
        def __getitem__(self, index: int) -> Any:
            return np.full((25, 1_000), index, dtype=np.float32), 0

    tracemalloc.start()
    try:
        report = look_at(split(Large(X, Y), 100), KeptFacts(), 1, compares=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (report.features, report.compared) == (64, 100)
    assert peak < 10 << 20


def test_what_can_only_be_gone_through_is_looked_at_too() -> None:
    class Stream:
        def __iter__(self) -> Iterator[Any]:
            return iter([(row, 0) for row in X])

    report = look_at(split(Stream()), KeptFacts(), 1, compares=True)
    assert (report.features, report.compared) == (4, 500)


def test_who_has_no_example_cannot_look_and_without_a_wish_nothing_is_compared() -> None:
    with pytest.raises(Invalid, match="no example"):
        look_at(DataSplit(), KeptFacts(), 1, compares=True)
    kept = KeptFacts()
    report = look_at(split((X, Y)), kept, -1, compares=False)
    assert (report.psi, report.features, kept.baseline) == (None, 0, None)


def test_what_is_kept_outlives_the_process(tmp_path: Path) -> None:
    kept = KeptFacts()
    first = look_at(split((X, Y)), kept, 1, compares=True)
    kept.keep(tmp_path / "looks" / "task.json")
    found = KeptFacts.read(tmp_path / "looks" / "task.json")
    assert look_at(split((X, Y)), found, 1, compares=True) == first
    (tmp_path / "looks" / "task.json").write_text("no json")
    assert KeptFacts.read(tmp_path / "looks" / "task.json").baseline is None
