"""Local examples behind one face: a number of them, an example by index, labels where they are cheap."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
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
