"""A private copy of the model to work on: the one that trains is never touched."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedops.core.errors import Invalid

#: Weights to explain: a module of the same architecture, or named arrays.
Weights = nn.Module | Mapping[str, Any]


class Bench:
    """A copy in evaluation mode, that takes on one set of weights after the other."""

    def __init__(self, model: nn.Module) -> None:
        try:
            self.model = copy.deepcopy(model)
        except Exception as error:
            raise Invalid(
                f"XAI works on a copy of the model, and {type(model).__name__} cannot be copied: {error}"
            ) from None
        self.model.eval()

    def load(self, weights: Weights) -> None:
        """Take on these weights. Tensors that are not named stay as they were.

        Raises:
            Invalid: a name or shape differs from the model's.
        """
        given = weights.state_dict() if isinstance(weights, nn.Module) else weights
        state = self.model.state_dict()
        wrong = [_difference(name, state.get(name), value) for name, value in given.items()]
        lines = [line for line in wrong if line]
        if lines or not given:
            what = "; ".join(lines[:3]) or "they are empty"
            raise Invalid(f"the weights to explain do not fit {type(self.model).__name__}: {what}")
        with torch.no_grad():
            for name, value in given.items():
                state[name].copy_(_tensor(value))


def _difference(name: str, mine: Tensor | None, value: Any) -> str:
    if mine is None:
        return f"the model has no tensor '{name}'"
    if tuple(mine.shape) != tuple(value.shape):
        return f"'{name}' is {list(mine.shape)} in the model and {list(value.shape)} in the weights"
    return ""


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.name == "bfloat16":  # numpy's by way of ml_dtypes; torch reads its bits
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))
