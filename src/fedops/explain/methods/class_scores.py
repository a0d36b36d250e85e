"""A classifier seen as scores for classes, whatever the last layer of the model gives.

Two or more outputs are one score a class. A single output is the score of class 1 of two; where the model
ends in a sigmoid it is that class's probability, and the score is the number that the sigmoid was given.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from fedops.core.errors import Invalid

#: Of a probability to 0 or 1: nearer ones have no logit that float32 can hold.
_ALMOST_SURE = 1e-6
#: What only changes the shape of a tensor, as autograd calls it.
_SHAPING = (
    "Squeeze",
    "Unsqueeze",
    "View",
    "UnsafeView",
    "Reshape",
    "Select",
    "Slice",
    "Alias",
    "Clone",
)
_SIGMOIDS: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def scores(model: nn.Module, inputs: Tensor) -> Tensor:
    """One row of class scores a sample: what is explained.

    Raises:
        Invalid: the model's output is no such table.
    """
    output = _table(model(inputs))
    if output.ndim == 1 and len(output) == len(inputs):
        output = output[:, None]
    if output.ndim != 2 or len(output) != len(inputs) or not output.is_floating_point():
        raise Invalid(
            f"the model gives {_shape(output)} for {len(inputs)} samples; an explanation needs "
            "a classifier: one row of class scores for every sample"
        )
    if output.shape[1] > 1:
        return output
    if _ends_in_sigmoid(model, inputs):
        output = torch.logit(output, eps=_ALMOST_SURE)
    return torch.cat([-output, output], 1) / 2


def _ends_in_sigmoid(model: nn.Module, inputs: Tensor) -> bool:
    """Whether the last thing the model computes is a sigmoid, seen once in the graph of a pass."""
    if model not in _SIGMOIDS:
        with torch.enable_grad():
            output = _table(model(inputs[:1].detach().requires_grad_()))
        step = output.grad_fn
        while step is not None and step.name().startswith(_SHAPING):
            step = step.next_functions[0][0]
        _SIGMOIDS[model] = step is not None and step.name().startswith("Sigmoid")
    return _SIGMOIDS[model]


def count_classes(model: nn.Module, sample: Tensor) -> int:
    """How many classes the model tells apart, seen from one sample.

    Raises:
        Invalid: it does not accept such a sample, or is no classifier.
    """
    try:
        with torch.no_grad():
            return scores(model, sample).shape[1]
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise Invalid(
            f"the model does not accept a sample of shape {list(sample.shape[1:])}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from None


def scores_of_class(table: Tensor, targets: Tensor) -> Tensor:
    """The score that each row gives to its class."""
    return table.gather(1, targets[:, None])[:, 0]


def probabilities(table: Tensor) -> Tensor:
    """Rows that sum to 1. Rows that already are probabilities are left as they are."""
    table = table.float()
    sums = table.sum(1)
    if bool((table >= 0).all()) and bool(
        torch.isclose(sums, torch.ones_like(sums), atol=1e-4).all()
    ):
        return table
    return torch.softmax(table, 1)


def placed(model: nn.Module, inputs: Tensor) -> Tensor:
    """The inputs on the device and in the floating-point type of the model's weights."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    return inputs if weight is None else inputs.to(weight.device, weight.dtype)


def rows_a_pass(inputs: Tensor, floats: int = 400_000) -> int:
    """How many samples of this size go through the model at once without using much memory."""
    return max(1, min(256, floats // max(1, inputs[0].numel())))


def _table(output: Any) -> Tensor:
    """The tensor of scores in what a model returns."""
    if isinstance(output, dict) and "logits" in output:
        output = output["logits"]
    output = getattr(output, "logits", output)
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise Invalid(
            f"the model returns {type(output).__name__}; an explanation needs a classifier "
            "that returns a tensor of class scores, alone, first in a tuple or as 'logits' in a dict"
        )
    return output


def _shape(output: Tensor) -> str:
    return f"{str(output.dtype).removeprefix('torch.')}{list(output.shape)}"
