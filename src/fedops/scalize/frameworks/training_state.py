"""A training's state as named arrays and plain values: whatever is made of dicts, lists, numbers and arrays.

And the process's random states, of every framework that is loaded.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.storage.tensors import Tensors, can_hold

#: Makes an array of what is one to a framework; None when it is none.
ToArray = Callable[[Any], npt.NDArray[Any] | None]
FromArray = Callable[[npt.NDArray[Any]], Any]


class CannotKeep(Exception):
    """A value that is neither plain nor an array. The text names it."""


def encode(value: Any, name: str, tensors: Tensors, to_array: ToArray) -> Any:
    """The value as JSON has it; its arrays go into ``tensors`` under names that begin with ``name``.

    Raises:
        CannotKeep: something in it is neither plain nor an array.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    array = to_array(value)
    if array is not None:
        if not can_hold(array):
            raise CannotKeep(f"{name} is an array of {array.dtype}")
        tensors[name] = array
        return {"array": name}
    if isinstance(value, Mapping):
        pairs = [[k, encode(v, f"{name}/{k}", tensors, to_array)] for k, v in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        items = [encode(v, f"{name}/{i}", tensors, to_array) for i, v in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise CannotKeep(f"{name} is a {type(value).__name__}")


def decode(value: Any, tensors: Mapping[str, npt.NDArray[Any]], from_array: FromArray) -> Any:
    """The value again. ``KeyError`` when an array of it is missing."""
    if isinstance(value, list):
        return [decode(item, tensors, from_array) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return from_array(np.array(tensors[value["array"]]))
    if "tuple" in value:
        return tuple(decode(item, tensors, from_array) for item in value["tuple"])
    return {key: decode(item, tensors, from_array) for key, item in value["dict"]}


def random_state() -> dict[str, Any]:
    """The global generators' states: Python's, numpy's, torch's."""
    found: dict[str, Any] = {"python": random.getstate(), "numpy": np.random.get_state()}
    if torch := sys.modules.get("torch"):
        found["torch"] = torch.get_rng_state().numpy()
        if torch.cuda.is_available():
            found["cuda"] = [state.numpy() for state in torch.cuda.get_rng_state_all()]
    return found


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go on drawing where ``random_state`` was asked."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    if (torch := sys.modules.get("torch")) and "torch" in state:
        torch.set_rng_state(torch.from_numpy(state["torch"]))
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([torch.from_numpy(part) for part in state["cuda"]])


def as_numpy(value: Any) -> npt.NDArray[Any] | None:
    """``ToArray`` of numpy's own arrays and scalars."""
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None
