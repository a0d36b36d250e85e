"""The default PyTorch loop: optimizer and loss from config, a seeded order, metrics an example."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.scalize.adapter.protocol import EvalResult, Part, TrainContext, TrainResult
from fedops.scalize.flow.datasets import count
from fedops.scalize.frameworks.pytorch_batches import batches, examples
from fedops.scalize.frameworks.pytorch_epochs import Epochs
from fedops.scalize.frameworks.running_metrics import RunningMetrics

Loss = Callable[[Any, Any], torch.Tensor]
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "nadam": torch.optim.NAdam,
}
LOSSES: dict[str, type[nn.Module]] = {
    "cross_entropy": nn.CrossEntropyLoss,
    "nll": nn.NLLLoss,
    "bce": nn.BCEWithLogitsLoss,
    "mse": nn.MSELoss,
    "l1": nn.L1Loss,
    "huber": nn.HuberLoss,
}


def make_optimizer(part: Part | None, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """The optimizer of ``[optimizer]`` over what is trainable; Adam when there is none."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise Invalid("the model has no parameter that requires a gradient: nothing can be trained")
    make = _find("optimizer", part, OPTIMIZERS, torch.optim.Adam)
    kwargs = dict(part.kwargs) if part else {}
    if "lr" in inspect.signature(make).parameters:
        kwargs.setdefault("lr", rate)
    return _made("optimizer", make, parameters, kwargs)  # type: ignore[no-any-return]


def make_loss(part: Part | None) -> Loss | None:
    """The loss of ``[loss]``; None to decide by the labels: classes or numbers."""
    if part is None or not (part.target or part.found):
        return None
    make = _find("loss", part, LOSSES, nn.CrossEntropyLoss)
    if not isinstance(make, type):  # a function such as torch.nn.functional.mse_loss
        return lambda output, target: make(output, target, **part.kwargs)
    return _made("loss", make, None, part.kwargs)  # type: ignore[no-any-return]


def _find(kind: str, part: Part | None, known: Mapping[str, Any], default: Any) -> Any:
    if part is None or not (part.target or part.found):
        return default
    if part.found is not None:
        return part.found
    found = known.get(part.target.lower())
    if found is None:
        guess = did_you_mean(part.target, known)
        raise Invalid(
            f"[{kind}] '{part.target}' is not known{guess or ';'} use one of {comma_list(known)} or a dotted "
            "name"
        )
    return found


def _made(kind: str, make: Any, first: Any, kwargs: Mapping[str, Any]) -> Any:
    try:
        return make(**kwargs) if first is None else make(first, **kwargs)
    except (TypeError, ValueError) as error:
        raise Invalid(f"[{kind}] {getattr(make, '__name__', make)}: {error}") from None


def loss_for(target: torch.Tensor) -> Loss:
    """Cross entropy where labels are whole numbers, else the mean squared error."""
    return nn.MSELoss() if target.is_floating_point() else nn.CrossEntropyLoss()


def _hits(output: torch.Tensor, target: torch.Tensor) -> int | None:
    """How many examples are classified rightly; None where there are no classes."""
    if target.is_floating_point() or output.ndim != target.ndim + 1:
        return None
    hits = (output.argmax(dim=1) == target).float()
    return round(float(hits.reshape(len(hits), -1).mean(dim=1).sum()))


def train_loop(
    model: nn.Module,
    data: Any,
    context: TrainContext,
    optimizer: torch.optim.Optimizer,
    loss: Loss | None,
    device: torch.device,
) -> TrainResult:
    """Train in place; the metrics are those of the last epoch."""
    loader = batches(data, context, shuffle=True, even=_has_batch_norm(model))
    tally = RunningMetrics()
    for epoch in Epochs(context, model, optimizer, loader, tally):
        for inputs, target in examples(model, epoch, device):
            context.check()
            optimizer.zero_grad()
            output = inputs.through(model)
            value = _value(loss or loss_for(target), output, target)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            _count(tally, value, output, target)
    return TrainResult(count(data, "the data step"), tally.metrics())


@torch.no_grad()
def evaluate_loop(
    model: nn.Module, data: Any, context: TrainContext, loss: Loss | None, device: torch.device
) -> EvalResult:
    """Loss and, for classes, accuracy: means over the examples."""
    tally = RunningMetrics()
    for inputs, target in examples(model, batches(data, context, shuffle=False), device):
        context.check()
        output = inputs.through(model)
        _count(tally, _value(loss or loss_for(target), output, target), output, target)
    return EvalResult(tally.examples, tally.metrics())


def gradient_loop(
    model: nn.Module, data: Any, context: TrainContext, loss: Loss | None, device: torch.device
) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """The gradient of the mean loss over the examples, of each parameter that is trained."""
    trained = [p for p in model.parameters() if p.requires_grad]
    sums = [torch.zeros_like(p) for p in trained]
    seen = 0
    for inputs, target in examples(model, batches(data, context, shuffle=False), device):
        value = _value(loss or loss_for(target), inputs.through(model), target)
        size = int(target.shape[0])
        for total, part in zip(
            sums, torch.autograd.grad(value, trained, allow_unused=True), strict=True
        ):
            if part is not None:
                total.add_(part, alpha=size)
        seen += size
    return [(p, total / max(seen, 1)) for p, total in zip(trained, sums, strict=True)]


def _count(
    tally: RunningMetrics, value: torch.Tensor, output: torch.Tensor, target: torch.Tensor
) -> None:
    tally.add(float(value.detach()), int(target.shape[0]), _hits(output.detach(), target))


def _value(loss: Loss, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss, with (n, 1) outputs and (n,) labels brought together instead of broadcast."""
    if output.shape != target.shape and output.numel() == target.numel():
        target = target.reshape(output.shape)
    if isinstance(loss, nn.BCEWithLogitsLoss | nn.MSELoss | nn.L1Loss | nn.HuberLoss):
        target = target.to(output.dtype)
    return loss(output, target)


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in model.modules())
