"""The model under examination: a private copy, left as it was, with hooks that are always removed."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedops.core.errors import Invalid
from fedops.explain.methods import class_scores


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards mode, gradients, buffers and ``requires_grad`` as before."""
    modes = {module: module.training for module in model.modules()}
    weights = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, wanted, grad in weights:
            parameter.requires_grad_(wanted)
            parameter.grad = grad
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


@contextmanager
def kept_randomness() -> Iterator[None]:
    """The random state of torch, numpy and Python is the same before and after.

    It belongs to the whole process: not for a thread beside training.
    """
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@dataclass
class Tap:
    """The output of one layer in the last pass. With a repeated layer, its last call."""

    activation: Tensor | None = None

    @property
    def value(self) -> Tensor:
        if self.activation is None:
            raise Invalid("the layer took no part in this pass through the model")
        return self.activation


@contextmanager
def tapped(layer: nn.Module) -> Iterator[Tap]:
    """Hold what ``layer`` computes as a leaf, so that gradients stop there.

    A frozen layer, or one behind frozen layers, therefore works like any other. The model goes on
    with a copy: an operation in place that follows (``ReLU(inplace=True)``) cannot change the map.
    """
    tap = Tap()

    def hold(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        tap.activation = output.detach().clone().requires_grad_(torch.is_grad_enabled())
        return tap.activation.clone()

    handle = layer.register_forward_hook(hold)
    try:
        yield tap
    finally:
        handle.remove()


@contextmanager
def watched(model: nn.Module, check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` before every pass through the model."""
    handle = model.register_forward_pre_hook(lambda _module, _inputs: check())
    try:
        yield
    finally:
        handle.remove()


def activations_and_gradients(
    model: nn.Module, layer: nn.Module, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """``A`` and ``dy/dA`` at the layer, [samples, channels, height, width], for each target class.

    Raises:
        Invalid: the score does not depend on the layer.
    """
    with torch.enable_grad(), tapped(layer) as tap:
        table = class_scores.scores(model, inputs)
        held = tap.value
        total = class_scores.scores_of_class(table, targets).sum()
        if not total.requires_grad:
            raise Invalid("the model's scores do not depend on this layer in a differentiable way")
        (gradient,) = torch.autograd.grad(total, held, allow_unused=True)
    if gradient is None:
        raise Invalid("the model's scores do not depend on this layer")
    return held.detach().float(), gradient.float()


def activations(model: nn.Module, layer: nn.Module, inputs: Tensor) -> Tensor:
    """What the layer computes, without gradients."""
    with torch.no_grad(), tapped(layer) as tap:
        model(inputs)
    return tap.value.detach().float()


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
