"""What a data step may return, understood: training and validation data, and how many examples.

Works on anything indexable by duck typing, so that no framework is imported here.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.errors import Invalid

Indices = npt.NDArray[np.int64]
_PARTS = {
    "train": ("train", "training", "trainset", "trainloader", "fit"),
    "validation": ("validation", "val", "valid", "eval", "dev", "valloader"),
    "test": ("test", "testing", "testset", "testloader"),
}


@dataclass(frozen=True)
class DataSplit:
    """A device's data. A data step may return it, to say which data set it really used.

    A device without training data evaluates only.
    """

    train: Any = None
    validation: Any = None
    #: Name of the data set: devices of one run must agree on it.
    dataset: str = ""
    #: Number of training examples.
    examples: int = 0
    test: Any = None


class Subset:
    """Some examples of an indexable data set, as an indexable data set."""

    def __init__(self, data: Any, indices: Indices) -> None:
        self.data, self.indices = data, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.data[int(self.indices[index])]


def is_array(value: Any) -> bool:
    """An array of any framework, a data frame or a column; not a table of Hugging Face, which has a shape."""
    if hasattr(value, "column_names"):
        return False
    return hasattr(value, "shape") and hasattr(value, "__getitem__") and len(value.shape) > 0


def is_pair(value: Any) -> bool:
    """Examples and labels of one length: ``(X, y)``, where X may be a dict, list or tuple of inputs."""
    if not (isinstance(value, tuple) and len(value) == 2 and is_array(value[1])):
        return False
    inputs = _inputs(value[0])
    size = value[1].shape[0]
    return bool(inputs) and all(is_array(part) and part.shape[0] == size for part in inputs)


def told_by_names(value: Any, names: Sequence[str]) -> Any:
    """Two arrays of one length that a step calls ``train, test``: not examples with their labels.

    ``names``: of the variables that the step returns.
    """
    if not is_pair(value) or len(names) != 2:
        return value
    first, second = (set(name.lower().split("_")) for name in names)
    if "train" in first and second & _HELD_OUT and not second & {"y", "labels", "targets"}:
        return {"train": value[0], "validation": value[1]}
    return value


_HELD_OUT = {"test", "val", "valid", "validation", "eval", "dev"}


def _inputs(x: Any) -> list[Any]:
    if isinstance(x, Mapping):
        return list(x.values())
    return list(x) if isinstance(x, list | tuple) else [x]


def count(data: Any, label: str) -> int:
    """The number of examples in a loader, a data set, a pair of arrays or a dict of arrays."""
    if _gives_batches(data):
        return _counted(data, label)
    try:
        if _is_loader(data):
            return len(data.sampler) if hasattr(data.sampler, "__len__") else len(data.dataset)
        if is_array(data):
            return int(data.shape[0])
        if is_pair(data):
            return int(data[1].shape[0])
        if isinstance(data, Mapping) and data:
            return count(next(iter(data.values())), label)
        return len(data)
    except TypeError:
        inner = f" over a {type(data.dataset).__name__}" if hasattr(data, "dataset") else ""
        raise Invalid(
            f"{label} returned a {type(data).__name__}{inner} of unknown length, and the number of examples "
            "is a device's weight; give it a __len__ that says how many examples it has, or return a data "
            "set or arrays"
        ) from None


def take(data: Any, indices: Indices) -> Any:
    """The examples at ``indices``, as the same kind of thing where it can be cut.

    Raises:
        Invalid: it gives its examples in batches that are already made, or in an order of its own.
    """
    require_divisible(data)
    if hasattr(data, "iloc"):
        return data.iloc[indices]
    if is_array(data):
        return data[indices]
    if is_pair(data):
        several = isinstance(data[0], list | tuple)
        x = [take(part, indices) for part in data[0]] if several else take(data[0], indices)
        return x, take(data[1], indices)
    if isinstance(data, Mapping):
        return {key: take(part, indices) for key, part in data.items()}
    if _is_loader(data):
        return _loader_of(data, take(data.dataset, indices))
    if isinstance(getattr(data, "tensors", None), tuple):  # a TensorDataset
        return type(data)(*(tensor[indices] for tensor in data.tensors))
    return data.select(indices) if hasattr(data, "select") else Subset(data, indices)


def require_divisible(data: Any) -> None:
    """
    Raises:
        Invalid: it gives its examples in batches that are already made.
    """
    if _gives_batches(data):
        raise Invalid(
            f"the data step returned a {type(data).__name__}, which gives whole batches and cannot be cut "
            "into parts; return arrays, or return (train, validation) or set validation_split = 0, and let "
            "the data step see to [dataset.partition] itself"
        )


def cut(total: int, share: float, seed: int) -> tuple[Indices, Indices]:
    """Random disjoint indices: the larger part, and ``share`` of all, each in ascending order."""
    order = np.random.default_rng(seed).permutation(total)
    held_out = int(total * share)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def as_split(value: Any, dataset: str, validation_split: float, seed: int, label: str) -> DataSplit:
    """What a data step returned, as a ``DataSplit``. One data set is cut in two by ``seed``.

    Raises:
        Invalid: it is nothing that can be trained on or evaluated, or there is no example in it.
    """
    if _is_data_module(value):
        value = _of_data_module(value, label)
    given = value if isinstance(value, DataSplit) else _parts(_with_arrays(value), label)
    held_out = given.validation if given.validation is not None else given.test
    if given.train is None and held_out is not None:
        total = 0
    else:
        _require(given.train, "training", label)
        total = count(given.train, label)
    if total and given.validation is None and given.test is None and validation_split > 0:
        given, total = _cut_off(given, total, validation_split, seed)
    name = given.dataset or dataset
    if total == 0 and (held_out is None or count(held_out, label) == 0):
        raise Invalid(
            f"this device has no training example of '{name}' and sits out, having none to evaluate on "
            f"either; {label} returned an empty set"
        )
    validation = given.validation if given.validation is not None else given.test
    return DataSplit(given.train, validation, name, total, given.test)


def as_validation(value: Any, dataset: str, label: str) -> tuple[Any, str]:
    """What a server's validation step returned: the data, and the name of its data set."""
    folded = dict(value) if isinstance(value, Mapping) else {}
    given = value if isinstance(value, DataSplit) else DataSplit(value)
    if isinstance(value, Mapping) and (named := _named_parts({"train": (), **folded})):
        given = named
    parts = (given.validation, given.test, given.train)
    data = next((part for part in parts if part is not None), None)
    _require(data, "validation", label)
    if count(data, label) == 0:
        raise Invalid(f"{label} returned an empty set; the server has nothing to evaluate on")
    return data, given.dataset or dataset


def _cut_off(given: DataSplit, total: int, share: float, seed: int) -> tuple[DataSplit, int]:
    kept, held_out = cut(total, share, seed)
    if not held_out.size:
        return given, total
    train, validation = take(given.train, kept), take(given.train, held_out)
    return DataSplit(train, validation, given.dataset), int(kept.size)


def _parts(value: Any, label: str) -> DataSplit:
    if isinstance(value, Mapping) and (named := _named_parts(value)):
        return named
    arrays = isinstance(value, list) and len(value) in (4, 6) and all(map(is_array, value))
    if is_pair(value) or not (isinstance(value, tuple) or arrays):
        return DataSplit(value)
    parts = _paired(value)
    if not 1 <= len(parts) <= 3:
        raise Invalid(
            f"{label} returned {len(value)} things; it must return one data set, (train, validation), "
            "(train, validation, test), or a dict with these keys"
        )
    train, *held_out = parts
    validation = held_out[0] if held_out else None
    return DataSplit(train, validation, test=held_out[1] if len(held_out) == 2 else None)


def _with_arrays(value: Any) -> Any:
    """Lists of texts or numbers in what was returned, as arrays: they are columns, not data sets."""
    if isinstance(value, tuple):
        return tuple(_with_arrays(part) for part in value) if type(value) is tuple else value
    plain = isinstance(value, list) and bool(value)
    return (
        np.asarray(value)
        if plain and all(isinstance(v, str | int | float) for v in value)
        else value
    )


def _is_data_module(value: Any) -> bool:
    """A ``LightningDataModule``, whichever of its two packages it is from."""
    return callable(getattr(value, "train_dataloader", None)) and callable(
        getattr(value, "setup", None)
    )


def _of_data_module(module: Any, label: str) -> DataSplit:
    """As Lightning's ``Trainer`` gets its loaders: ``prepare_data``, ``setup("fit")``, then each of them."""
    module.prepare_data()
    module.setup("fit")
    parts = {}
    for part in ("train", "val"):
        method = getattr(type(module), f"{part}_dataloader", None)
        own = method is not None and not method.__module__.startswith(_LIGHTNING)
        found = getattr(module, f"{part}_dataloader")() if own else None
        if isinstance(found, list | tuple) and len(found) != 1:
            raise Invalid(
                f"{label}: {part}_dataloader() gives {len(found)} loaders; FedOps trains and validates on "
                "one: give that one in a function of your own"
            )
        parts[part] = found[0] if isinstance(found, list | tuple) else found
    return DataSplit(parts["train"], parts["val"])


_LIGHTNING = ("lightning.", "pytorch_lightning.")


def _named_parts(value: Mapping[Any, Any]) -> DataSplit | None:
    folded = {str(key).lower().replace("_", ""): part for key, part in value.items()}
    found = {
        part: next((folded[name] for name in names if name in folded), None)
        for part, names in _PARTS.items()
    }
    names = {name for names in _PARTS.values() for name in names} | {"dataset", "name"}
    if not any(name in folded for name in _PARTS["train"]) and not (
        folded and folded.keys() <= names
    ):
        return None
    name = next(
        (folded[key] for key in ("dataset", "name") if isinstance(folded.get(key), str)), ""
    )
    return DataSplit(found["train"], found["validation"], name, test=found["test"])


def _paired(value: Sequence[Any]) -> Sequence[Any]:
    """Four or six arrays as pairs, in either of the two common orders."""
    if len(value) not in (4, 6) or not all(is_array(part) for part in value):
        return value
    half, lengths = len(value) // 2, [part.shape[0] for part in value]
    grouped = lengths[:half] == lengths[half:]  # X_train, X_test, y_train, y_test
    paired = lengths[::2] == lengths[1::2]  # X_train, y_train, X_test, y_test
    if grouped and paired:
        grouped = len(value[1].shape) > 1
    if grouped:
        return list(zip(value[:half], value[half:], strict=True))
    return list(zip(value[::2], value[1::2], strict=True))


def _require(train: Any, what: str, label: str) -> None:
    if train is None or isinstance(train, str | bytes | int | float):
        kind = "nothing" if train is None else f"a {type(train).__name__}"
        raise Invalid(
            f"{label} returned {kind} as {what} data; it must return a DataLoader, a data set, or arrays"
        )


def _is_loader(data: Any) -> bool:
    return hasattr(data, "dataset") and hasattr(data, "sampler")


def _loader_of(loader: Any, dataset: Any) -> Any:
    """A loader like ``loader`` over another data set."""
    if loader.batch_size is None or type(loader.sampler).__name__ not in _PLAIN_SAMPLERS:
        raise Invalid(
            "the data step returned one DataLoader with a sampler of its own, which cannot be cut in "
            "two; return (train, validation) or set validation_split = 0"
        )
    return type(loader)(
        dataset,
        batch_size=loader.batch_size,
        shuffle=type(loader.sampler).__name__ == "RandomSampler",
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last,
        generator=loader.generator,
    )


_PLAIN_SAMPLERS = ("RandomSampler", "SequentialSampler")

# --- tf.data and Keras's own data sets: each element is a batch ----------------------------------

#: More than this many batches are taken for a data set without an end.
_MOST_BATCHES = 1_000_000
#: To count one is to go through it.
_known_counts: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def _gives_batches(data: Any) -> bool:
    """A ``tf.data.Dataset`` or a ``keras.utils.PyDataset``: what ``fit`` takes as it is."""
    if hasattr(data, "element_spec") and hasattr(data, "cardinality"):
        return True
    return any(kind.__name__ == "PyDataset" for kind in type(data).__mro__)


def _counted(data: Any, label: str) -> int:
    """The examples of one pass, each batch by its own size: the last one may be smaller."""
    if data not in _known_counts:
        _known_counts[data] = sum(
            _examples_in(batch, data, label) for batch in _batches(data, label)
        )
    return _known_counts[data]


def _batches(data: Any, label: str) -> Iterator[Any]:
    is_keras = not hasattr(data, "element_spec")
    total = data.num_batches if is_keras else int(data.cardinality())
    if total is None or total == -1:
        raise _endless(data, label)
    if is_keras:
        yield from (data[number] for number in range(total))
        return
    for number, batch in enumerate(data):
        if number == _MOST_BATCHES:
            raise _endless(data, label)
        yield batch


def _endless(data: Any, label: str) -> Invalid:
    return Invalid(
        f"{label} returned a {type(data).__name__} without an end; take out its repeat(), or end it with "
        "take(...), so that its examples can be counted"
    )


def _examples_in(batch: Any, data: Any, label: str) -> int:
    shapes: list[Any] = [getattr(leaf, "shape", ()) for leaf in _leaves(batch)]
    sizes = {int(shape[0]) if len(shape) else -1 for shape in shapes}
    if len(sizes) != 1 or -1 in sizes:
        raise Invalid(
            f"{label} returned a {type(data).__name__} whose elements are single examples, not batches; "
            "end it with batch(...)"
        )
    return sizes.pop()


def _leaves(batch: Any) -> Iterator[Any]:
    """The arrays of ``x``, ``(x, y)`` or ``(x, y, weights)``, where each may hold several."""
    if isinstance(batch, Mapping):
        batch = tuple(batch.values())
    if isinstance(batch, tuple | list):
        for part in batch:
            yield from _leaves(part)
    elif batch is not None:
        yield batch
