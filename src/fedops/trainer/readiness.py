"""What a device needs for its part of a round, beside a model that can be built: a batch of data, room.

Tried before any round wants it. Whatever is drawn at random meanwhile, training draws as if it had not been.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fedops.config.schema import Config
from fedops.core.contracts import ParameterContract, ParameterSpec
from fedops.core.errors import FedOpsError, Invalid
from fedops.scalize.adapter.random_state import kept_random_state
from fedops.scalize.flow.datasets import DataSplit, count, is_array, is_pair, take

MIB = 1 << 20
#: Bytes of the element types that numpy does not know.
_WIDTHS = {"bfloat16": 2}
#: What an attempt to take examples raises when a data set cannot be taken apart so, and only iterates.
_NO_INDEX = (TypeError, KeyError, IndexError, AttributeError, NotImplementedError)


def load_batch(data: DataSplit, size: int) -> None:
    """Load a first batch, as far as the data's kind lets single examples be taken.

    Of the training data; of the validation data where a device has nothing else.

    Raises:
        Invalid: it cannot be loaded.
    """
    name, examples, limit = "training", data.train, data.examples
    if not limit:
        name, examples, limit = "validation", data.validation, known_count(data.validation) or 0
    try:
        with kept_random_state():
            _first(examples, min(size, limit))
    except FedOpsError:
        raise
    except _NO_INDEX:
        return
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise Invalid(f"a batch of the {name} data cannot be loaded: {what}") from None


def known_count(data: Any) -> int | None:
    """The number of examples, where it can be told."""
    if data is None:
        return 0
    with contextlib.suppress(Invalid):
        return count(data, "the data step")
    return None


def _first(data: Any, size: int) -> None:
    if hasattr(data, "iloc") or is_array(data) or is_pair(data) or isinstance(data, Mapping):
        take(data, np.arange(size))
        return
    examples = getattr(
        data, "dataset", data
    )  # of a loader: to iterate it would draw from its generator
    if len(examples) < size or not hasattr(examples, "__getitem__"):
        return
    for index in range(size):
        examples[index]


def explain_missing(config: Config, error: FedOpsError) -> Invalid:
    """Why data could not be loaded, beginning with the folder that is not there, if that is why."""
    root = config.dataset.root
    if root is None or Path(root).expanduser().exists():
        return Invalid(error.message)
    missing = (
        f"the data folder {root} (dataset.root) does not exist: put the data there, or name its folder with "
        "'fedops client run --set dataset.root=FOLDER'"
    )
    return Invalid(missing if root in error.message else f"{missing} ({error.message})")


def data_places(config: Config) -> list[Path]:
    """Where the data lies, as far as the config says so."""
    named = [config.dataset.root] if config.dataset.root else []
    named += [text for text in _texts(config.data.kwargs if config.data else {}) if "/" in text]
    named += config.script.paths.values() if config.script else []
    return [Path(text).expanduser() for text in named if "://" not in text]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)


def lacking_disk(contract: ParameterContract, home: Path) -> str:
    """What to do when the disk has no room for a round with this model; "" when it has.

    What is received and what is sent lie there at a time, and the whole model as a checkpoint.
    """
    needed = 2 * sum(map(_bytes, contract.federated)) + sum(map(_bytes, contract.parameters))
    if (free := shutil.disk_usage(home).free) >= needed:
        return ""
    return (
        f"the disk of {home} has {_mb(free)} free, and a round with this model needs {_mb(needed)}: "
        "free some space there"
    )


def lacking_memory(contract: ParameterContract) -> str:
    """The same of the memory, for what is received and what is sent; swap space counts."""
    needed = 2 * sum(map(_bytes, contract.federated))
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    if free >= needed:
        return ""
    return (
        f"{_mb(free)} of memory are free, and a round with this model needs {_mb(needed)} more: "
        "end something else on this machine, or use a smaller model"
    )


def _bytes(spec: ParameterSpec) -> int:
    width = _WIDTHS.get(spec.dtype) or _width(spec.dtype)
    return math.prod(spec.shape) * width


def _width(dtype: str) -> int:
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 1


def _mb(size: float) -> str:
    return f"{size / MIB:,.0f} MB" if size >= MIB else f"{size / MIB:.1f} MB"
