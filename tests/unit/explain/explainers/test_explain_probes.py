from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from fedops.core.errors import Invalid
from fedops.explain.explainers import probe_sets
from fedops.scalize.flow import datasets as flow

INPUTS = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0] * 40 + [1] * 15 + [2] * 5)


class Listed(Dataset[Any]):
    """A data set that can say nothing but its examples."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index in self.broken:
            raise OSError("cannot identify image file")
        return INPUTS[index], int(LABELS[index])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(INPUTS, LABELS, strict=True))


SOURCES = {
    "arrays": (INPUTS.numpy(), LABELS.numpy()),
    "tensors": [INPUTS, LABELS],
    "data set": TensorDataset(INPUTS, LABELS),
    "loader": DataLoader(TensorDataset(INPUTS, LABELS), batch_size=7, shuffle=True),
    "listed": Listed(),
    "stream": Stream(),
    "loader of a stream": DataLoader(Stream(), batch_size=7),
    "subset": Subset(TensorDataset(INPUTS, LABELS), range(60)),
    "subset of the flow": flow.Subset(TensorDataset(INPUTS, LABELS), np.arange(60)),
    "part of arrays": flow.take((INPUTS.numpy(), LABELS.numpy()), np.arange(60)),
}


@pytest.mark.parametrize("source", list(SOURCES))
def test_classes_are_balanced_whatever_the_source(source: str) -> None:
    found = probe_sets.choose_probes(SOURCES[source], 9, seed=1)
    assert found.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    for row, index in enumerate(found.indices):
        assert torch.equal(found.inputs[row], INPUTS[index])
        assert found.labels[row] == LABELS[index]


def test_a_small_class_gives_what_it_has() -> None:
    found = probe_sets.choose_probes(SOURCES["arrays"], 30, seed=1)
    assert np.bincount(found.labels).tolist() == [13, 12, 5]
    assert len(set(found.indices)) == 30


def test_fewer_examples_than_asked_for() -> None:
    assert len(probe_sets.choose_probes((INPUTS[:4], LABELS[:4]), 30, seed=1)) == 4


def test_the_same_seed_chooses_the_same_probes() -> None:
    first, again, other = (
        probe_sets.choose_probes(SOURCES["arrays"], 9, seed) for seed in (1, 1, 2)
    )
    assert first.indices == again.indices
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_labels_and_pixels_make_the_digest() -> None:
    one = probe_sets.choose_probes((INPUTS[:3], LABELS[:3]), 3, 0)
    assert one.digest != probe_sets.choose_probes((INPUTS[:3], LABELS[:3] + 1), 3, 0).digest
    assert one.digest != probe_sets.choose_probes((INPUTS[:3] + 1e-6, LABELS[:3]), 3, 0).digest


def test_a_broken_example_is_replaced_and_noted() -> None:
    whole = probe_sets.choose_probes(Listed(), 9, seed=1)
    found = probe_sets.choose_probes(Listed(broken=(whole.indices[0],)), 9, seed=1)
    assert found.labels.tolist() == whole.labels.tolist()
    assert whole.indices[0] not in found.indices
    assert found.notes == (f"sample {whole.indices[0]} skipped: cannot identify image file",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((1, 4, 4), float("nan")), "NaN or infinite"),
        (torch.zeros(1, 5, 5), r"its shape is \[1, 5, 5\], others have \[1, 4, 4\]"),
        (torch.zeros(1, 4, 4, dtype=torch.uint8), "uint8 values; XAI needs floating-point"),
        ("a picture", "its input is a str"),
    ],
)
def test_a_bad_example_among_good_ones(value: Any, message: str) -> None:
    data = [(INPUTS[0], 0), (value, 1), (INPUTS[1], 2)]
    found = probe_sets.choose_probes(data, 3, seed=0)
    assert found.labels.tolist() == [0, 2]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("; ".join(found.notes))


def test_a_bad_label() -> None:
    data = [(INPUTS[0], 0), (INPUTS[1], 1.5), (INPUTS[2], torch.zeros(3)), (INPUTS[3], -1)]
    found = probe_sets.choose_probes(data, 4, seed=0)
    assert found.indices == (0,)
    assert any("its label 1.5 is no class number" in note for note in found.notes)


def test_nothing_usable_says_why() -> None:
    with pytest.raises(Invalid, match=r"no usable sample. sample \d+ skipped: cannot identify"):
        probe_sets.choose_probes(Listed(broken=tuple(range(60))), 3, seed=0)
    with pytest.raises(Invalid, match=r"test data is empty.*validation_split"):
        probe_sets.choose_probes((INPUTS[:0], LABELS[:0]), 3, seed=0)
    with pytest.raises(Invalid, match="cannot take samples from int"):
        probe_sets.choose_probes(7, 3, seed=0)


def test_notes_do_not_flood() -> None:
    found = probe_sets.choose_probes(Listed(broken=tuple(range(39))), 9, seed=1)
    assert len(found.notes) <= 20


@pytest.mark.parametrize(
    ("shape", "kind"), [((3, 8, 8), "image"), ((1, 28, 28), "image"), ((30,), "table")]
)
def test_kinds_of_samples(shape: tuple[int, ...], kind: str) -> None:
    found = probe_sets.choose_probes((torch.rand(4, *shape), torch.zeros(4)), 2, 0)
    assert probe_sets.kind(found) == kind


@pytest.mark.parametrize("shape", [(28, 28), (1, 1, 1), (2, 3, 4, 5)])
def test_other_samples_are_refused_with_what_is_explained(shape: tuple[int, ...]) -> None:
    found = probe_sets.choose_probes((torch.rand(4, *shape), torch.zeros(4)), 2, 0)
    with pytest.raises(Invalid, match=r"images \(\[channels, height, width\]\) and tables"):
        probe_sets.kind(found)


def test_numbers_to_be_predicted_need_no_classes() -> None:
    answers = np.linspace(0, 1, 60)
    found = probe_sets.choose_probes((INPUTS.numpy()[:, 0, 0], answers), 5, 0, classes=False)
    assert len(found) == 5
    assert found.labels.tolist() == [answers[index] for index in found.indices]
