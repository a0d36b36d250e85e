"""This device's part of a data set, where the data step does not see to ``[dataset.partition]`` itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.config.schema import Partition
from fedops.core.errors import Invalid
from fedops.scalize.flow.datasets import DataSplit, is_pair, require_divisible, take
from fedops.scalize.flow.target_import import resolve

#: Named like any step: the algorithms know nothing of projects.
PARTITIONER = "fedops.algorithms.partition.partition"
#: Schemes that look at sizes only.
_WITHOUT_LABELS = ("iid", "quantity")
_LABELS = ("label", "labels", "y", "target", "targets", "fine_label")


def select_partition(split: DataSplit, partition: Partition, seed: int, label: str) -> DataSplit:
    """The split with this device's part of the training data; validation stays whole.

    Raises:
        Invalid: there are too few examples, or the scheme needs labels and none are found.
    """
    if partition.scheme in _WITHOUT_LABELS:
        labels = np.zeros(split.examples, dtype=np.int64)
    else:
        labels = labels_of(split.train, label)
    make = resolve(PARTITIONER, "[dataset.partition]")
    parts = make(
        partition.scheme,
        labels,
        partition.of,
        seed,
        alpha=partition.alpha,
        shards_per_client=partition.shards_per_client,
    )
    indices = parts[partition.index]
    return dataclasses.replace(split, train=take(split.train, indices), examples=len(indices))


def labels_of(data: Any, label: str) -> npt.NDArray[Any]:
    """The label of every example: of arrays, a loader, or any data set that can be indexed."""
    if is_pair(data):
        return np.asarray(data[1])
    require_divisible(data)
    data = getattr(data, "dataset", data)
    tensors = getattr(data, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) > 1:
        return np.asarray(tensors[-1])
    return np.array([_label(data[index], label) for index in range(len(data))])


def _label(example: Any, label: str) -> Any:
    found = None
    if isinstance(example, Mapping):
        found = next((example[name] for name in _LABELS if name in example), None)
    elif isinstance(example, tuple | list) and len(example) > 1:
        found = example[1]
    if found is None or np.size(found) != 1:
        raise Invalid(
            f"[dataset.partition]: no label is found in an example of {label}; use scheme 'iid' or 'quantity'"
        )
    return np.asarray(found).item()
