"""What a layer computes and how the score depends on it, by plain hooks that are always removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fedops.core.errors import Invalid
from fedops.explain import forward


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
        table = forward.scores(model, inputs)
        held = tap.value
        total = forward.of_class(table, targets).sum()
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
