"""A Keras model's weights by names that do not depend on what was built before it in the process."""

from __future__ import annotations

import re
import sys
from typing import Any, Dict

from fedops_watch import tensors

Arrays = Dict[str, Any]


def named_variables(model: Any) -> dict[str, Any]:
    """In the model's order: the layers' names without the numbers that Keras counts through a process."""
    names = _layer_names(model)
    found: dict[str, Any] = {}
    for variable in model.weights:
        parts = variable.path.split("/")
        if parts[0] == model.name and len(parts) > 2:
            parts = parts[1:]
        name = "/".join(names.get(part, part) for part in parts)
        twins = sum(1 for known in found if known == name or known.startswith(name + "#"))
        found[f"{name}#{twins}" if twins else name] = variable
    return found


def _layer_names(model: Any) -> dict[str, str]:
    names: dict[str, str] = {}
    seen: dict[str, int] = {}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        base = _automatic(layer)
        if layer.name in names or not base:
            continue
        number = seen.get(base, 0)
        names[layer.name] = f"{base}_{number}" if number else base
        seen[base] = number + 1
    return names


def _automatic(layer: Any) -> str:
    """``dense`` for a layer that Keras named ``dense_7``; "" for one named by its author."""
    plain = re.sub(r"\W+", "", type(layer).__name__)
    snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", plain)
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()
    match = re.match(rf"((?:forward_|backward_)?{snake})(_\d+)?$", layer.name)
    return match.group(1) if match else ""


def to_numpy(variable: Any) -> Any:
    keras: Any = sys.modules["keras"]
    numpy: Any = sys.modules["numpy"]
    return numpy.array(keras.ops.convert_to_numpy(variable))


def read(model: Any) -> Arrays:
    """Copies of all weights."""
    return {name: to_numpy(variable) for name, variable in named_variables(model).items()}


def write(model: Any, given: Arrays) -> str:
    """Put these in; "" or the first that does not fit."""
    keras: Any = sys.modules["keras"]
    mine = named_variables(model)
    for name, variable in mine.items():
        if name not in given:
            return f"'{name}' is not among the tensors that were put in"
        if tuple(given[name].shape) != tuple(variable.shape):
            return f"'{name}' has shape {list(variable.shape)}, not {list(given[name].shape)}"
    for name, variable in mine.items():
        wide = given[name].astype("float32") if given[name].dtype.kind == "V" else given[name]
        variable.assign(keras.ops.convert_to_tensor(wide, dtype=variable.dtype))
    return ""


def first_difference(model: Any, given: Arrays, trainable_only: bool = False) -> str:
    """The first weight that is not what it was given, bit for bit; "" if there is none."""
    for name, variable in named_variables(model).items():
        if trainable_only and not variable.trainable:
            continue
        here, there = to_numpy(variable), given[name]
        if here.tobytes() != there.astype(here.dtype).tobytes():
            return name
    return ""


def seen_tensors(model: Any) -> list[dict[str, Any]]:
    """As ``SeenTensor``."""
    keras: Any = sys.modules["keras"]
    state = {
        id(variable)
        for layer in model._flatten_layers(include_self=True, recursive=True)
        for variable in layer._non_trainable_variables
    }
    rows = []
    for name, variable in named_variables(model).items():
        dtype = keras.backend.standardize_dtype(variable.dtype)
        kind = "buffer" if id(variable) in state else "parameter"
        rows.append(
            {
                "name": name,
                "shape": list(variable.shape),
                "dtype": dtype,
                "kind": kind,
                "tied_to": "",
            }
        )
    return [row for row in rows if tensors.can_hold(str(row["dtype"]))]


def raws(arrays: Arrays, prefix: str) -> dict[str, tensors.Raw]:
    found = {prefix + name: tensors.from_numpy(array) for name, array in arrays.items()}
    return {name: raw for name, raw in found.items() if tensors.can_hold(raw.dtype)}
