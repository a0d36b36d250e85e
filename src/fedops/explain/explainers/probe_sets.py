"""The probe set of a device: a few of its own test examples, chosen once, balanced over the classes.

Examples are taken from arrays, data sets or loaders. The same data and seed give the same probes; ``digest``
says whether two sets are the same.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from fedops.core.errors import Invalid

SCAN = 2_000  #: how many examples are looked at when labels cannot be had without the pictures


@dataclass(frozen=True)
class Pool:
    """Examples as pairs of input and label."""

    examples: Any  #: has ``len`` and gives a pair by index

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        pair = self.examples[index]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError("the example is no pair of input and label")
        return pair[0], pair[1]

    def labels(self) -> npt.NDArray[Any] | None:
        """All labels, when that does not mean to load every input."""
        return _labels(self.examples)


@dataclass(frozen=True)
class Pair:
    """Two arrays of one length: inputs and labels."""

    inputs: Any
    targets: Any

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.inputs[index], self.targets[index]


def pool_of(data: Any) -> Pool:
    """A pool from what a project's data step gives: arrays, a data set or a loader of one.

    Raises:
        Invalid: it is none of these.
    """
    if isinstance(data, DataLoader):
        data = data.dataset if not isinstance(data.dataset, IterableDataset) else _unrolled(data)
    elif isinstance(data, IterableDataset):
        data = list(itertools.islice(data, SCAN))
    if isinstance(data, tuple | list) and len(data) == 2 and _is_table(data[0], data[1]):
        return Pool(Pair(_plain(data[0]), _plain(data[1])))
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, dict):
        return Pool(data)
    raise Invalid(
        f"XAI cannot take samples from {type(data).__name__}; the data step must give arrays "
        "(inputs, labels), a torch data set of such pairs, or a loader of one"
    )


def _unrolled(loader: Any) -> list[tuple[Any, Any]]:
    """The examples of a loader that only iterates, up to the limit."""
    found: list[tuple[Any, Any]] = []
    for batch in loader:
        inputs, labels = batch
        found.extend(zip(inputs, labels, strict=True))
        if len(found) >= SCAN:
            break
    return found[:SCAN]


def _is_table(inputs: Any, labels: Any) -> bool:
    arrays = all(hasattr(part, "shape") and hasattr(part, "__len__") for part in (inputs, labels))
    return arrays and len(inputs.shape) > 0 and len(inputs) == len(labels)


def _plain(array: Any) -> Any:
    """Data frames as arrays; arrays and tensors as they are."""
    return array.to_numpy() if hasattr(array, "to_numpy") else array


def _labels(examples: Any) -> npt.NDArray[Any] | None:
    if isinstance(examples, tuple | list) and len(examples) == 2 and _is_table(*examples):
        return _array(examples[1])
    if isinstance(examples, Pair):
        return _array(examples.targets)
    if isinstance(examples, TensorDataset):
        return _array(examples.tensors[-1])
    if hasattr(examples, "indices"):  # a subset, torch's or FLScalize's
        inner = _labels(getattr(examples, "dataset", getattr(examples, "data", None)))
        return None if inner is None else inner[np.asarray(list(examples.indices), dtype=int)]
    for name in ("targets", "labels"):
        found = getattr(examples, name, None)
        if isinstance(found, torch.Tensor | np.ndarray | Sequence) and len(found) == len(examples):
            return _array(found)
    return None


def _array(values: Any) -> npt.NDArray[Any] | None:
    array = (
        values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    )
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    return array if array.ndim == 1 and array.dtype.kind in "iufb" else None


_MOST_NOTES = 20


@dataclass(frozen=True)
class Probes:
    """Chosen examples, in the order of their class and place in the data."""

    inputs: Tensor  #: [samples, ...], float, on the CPU
    labels: npt.NDArray[Any]  #: class numbers (int64), or what is to be predicted (float64)
    indices: tuple[int, ...]  #: places in the local data
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def digest(self) -> str:
        """Sixteen hex digits of inputs and labels."""
        hashed = hashlib.sha256(self.inputs.contiguous().numpy().tobytes())
        hashed.update(self.labels.astype("<f8").tobytes())
        return hashed.hexdigest()[:16]

    def only(self, keep: list[int], note: str) -> Probes:
        """Some of them."""
        return Probes(
            self.inputs[keep],
            self.labels[keep],
            tuple(self.indices[i] for i in keep),
            (*self.notes, note),
        )


@dataclass(frozen=True)
class _Example:
    index: int
    input: Tensor
    label: float


def choose_probes(data: Any, count: int, seed: int, *, classes: bool = True) -> Probes:
    """Up to ``count`` probes of ``data``, the same number of every class as far as there are enough.

    An example that cannot be read is left out with a note, and the next of its class taken.
    Without ``classes`` the labels are numbers to be predicted, and the probes any examples.

    Raises:
        Invalid: not one example can be used.
    """
    pool = pool_of(data)
    if len(pool) == 0:
        raise Invalid(
            "XAI has no samples: this device's test data is empty. "
            "Give [dataset] validation_split a value above 0, or set xai.enabled = false"
        )
    notes: list[str] = []
    order = np.random.default_rng(seed).permutation(len(pool))
    queues = (
        _by_class(pool, order, notes) if classes else {0.0: _read_all(pool, order, notes, False)}
    )
    found = _same_shape(_balanced(queues, count), notes)
    if not found:
        raise Invalid(f"XAI found no usable sample. {notes[0] if notes else ''}".strip())
    found.sort(key=lambda e: (e.label if classes else 0, e.index))
    return Probes(
        torch.stack([e.input for e in found]),
        np.array([e.label for e in found], dtype=np.int64 if classes else np.float64),
        tuple(e.index for e in found),
        tuple(notes[:_MOST_NOTES]),
    )


def kind(probes: Probes) -> str:
    """``image`` or ``table``.

    Raises:
        Invalid: the samples are neither.
    """
    shape = list(probes.inputs.shape[1:])
    if len(shape) == 3 and shape[1] * shape[2] > 1:
        return "image"
    if len(shape) == 1 and shape[0] > 0:
        return "table"
    raise Invalid(
        f"XAI explains images ([channels, height, width]) and tables ([features]); the samples "
        f"of this task have shape {shape}. Shape them so in the data step, or set "
        "xai.enabled = false"
    )


def _balanced(queues: dict[float, Iterator[_Example]], count: int) -> list[_Example]:
    """Round after round one example of every class, each class in an order drawn by seed."""
    chosen: list[_Example] = []
    while queues and len(chosen) < count:
        for label in sorted(queues):
            example = next(queues[label], None) if len(chosen) < count else None
            if example is not None:
                chosen.append(example)
            elif len(chosen) < count:
                del queues[label]
    return chosen


def _same_shape(found: list[_Example], notes: list[str]) -> list[_Example]:
    shapes = Counter(tuple(example.input.shape) for example in found)
    common = shapes.most_common(1)[0][0] if shapes else ()
    notes += [
        f"sample {example.index} skipped: its shape is {list(example.input.shape)}, "
        f"others have {list(common)}"
        for example in found
        if tuple(example.input.shape) != common
    ]
    return [example for example in found if tuple(example.input.shape) == common]


def _by_class(
    pool: Pool, order: npt.NDArray[Any], notes: list[str]
) -> dict[float, Iterator[_Example]]:
    labels = pool.labels()
    if labels is not None:
        classes = np.unique(labels[np.isfinite(labels.astype(float))])
        return {float(c): _read_all(pool, order[labels[order] == c], notes) for c in classes}
    groups: dict[float, list[_Example]] = {}
    for example in _read_all(pool, order[:SCAN], notes):
        groups.setdefault(example.label, []).append(example)
    return {label: iter(group) for label, group in groups.items()}


def _read_all(
    pool: Pool, indices: npt.NDArray[Any], notes: list[str], classes: bool = True
) -> Iterator[_Example]:
    for index in indices:
        try:
            yield _read(pool, int(index), classes)
        except Exception as error:  # whatever a user's data set raises for one broken file
            text = str(error).strip().splitlines()
            notes.append(f"sample {index} skipped: {text[0] if text else type(error).__name__}")


def _read(pool: Pool, index: int, classes: bool) -> _Example:
    value, label = pool[index]
    number = float(torch.as_tensor(label).reshape(()))
    if classes and (number != int(number) or number < 0):
        raise ValueError(f"its label {number:g} is no class number")
    return _Example(index, _numbers(value), number)


def _numbers(value: Any) -> Tensor:
    if not isinstance(value, Tensor | np.ndarray):
        raise ValueError(
            f"its input is a {type(value).__name__}; XAI explains images and tables of numbers"
        )
    tensor = torch.as_tensor(np.array(value) if isinstance(value, np.ndarray) else value)
    tensor = tensor.detach().cpu().clone()
    if tensor.ndim > 1 and not tensor.is_floating_point():
        raise ValueError(
            f"its input holds {str(tensor.dtype).removeprefix('torch.')} values; "
            "XAI needs floating-point pixels"
        )
    tensor = tensor if tensor.dtype == torch.float32 else tensor.double()
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError("its input holds NaN or infinite values")
    return tensor
