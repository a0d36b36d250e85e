"""A LightningModule trained by its own ``training_step`` and ``configure_optimizers``, without a Trainer.

What only a Trainer does for a module (hooks, manual optimization) is refused, never left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import EvalResult, TrainContext, TrainResult
from fedops.scalize.flow.datasets import count
from fedops.scalize.frameworks.pytorch_batches import batches

_WAY_OUT = (
    "let FedOps watch your own command instead (fedops init . -- python train.py), or name a train step of "
    "your own"
)
#: Methods that the loop here calls or that only concern data, logging and files; all else is a Trainer's.
_HOOKS = (
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "optimizer_step",
    "optimizer_zero_grad",
    "transfer_batch_to_device",
)


def is_lightning(model: nn.Module) -> bool:
    return base_of(model) is not None


def base_of(model: nn.Module) -> type | None:
    """Lightning's own class among those that the model derives from."""
    classes = (cls for cls in type(model).__mro__ if cls.__name__ == "LightningModule")
    return next(classes, None)


def has_own(model: nn.Module, method: str) -> bool:
    """Whether the module defines a method, rather than Lightning."""
    theirs = getattr(base_of(model), method, None)
    mine = getattr(type(model), method, None)
    return mine is not None and mine is not theirs


def train_lightning(
    model: nn.Module, data: Any, context: TrainContext, device: torch.device
) -> TrainResult:
    """Train in place as the module itself says; the metrics are what it logs, of the last epoch.

    Raises:
        Invalid: the module needs what only a Trainer does.
    """
    _require_what_is_done(model)
    optimizer, schedulers = _configured(model)
    loader, logged = batches(data, context, shuffle=True), _Logged()
    with _logging_to(model, logged), _without_trainer():
        for epoch in range(1, context.epochs + 1):
            logged.clear()
            for index, batch in enumerate(loader):
                context.check()
                _step(model, _moved(batch, device), index, optimizer, logged)
                _advance(schedulers, "step")
            _advance(schedulers, "epoch")
            context.on_epoch(epoch, context.epochs)
    return TrainResult(count(data, "the data step"), logged.means())


@torch.no_grad()
def evaluate_lightning(
    model: nn.Module, data: Any, context: TrainContext, device: torch.device
) -> EvalResult | None:
    """What ``validation_step`` logs or returns; None where the module has none."""
    step = next((s for s in ("validation_step", "test_step") if has_own(model, s)), "")
    if not step:
        return None
    logged, examples = _Logged(), 0
    with _logging_to(model, logged), _without_trainer():
        for index, batch in enumerate(batches(data, context, shuffle=False)):
            context.check()
            logged.size = _size(batch)
            examples += logged.size
            value = getattr(model, step)(_moved(batch, device), index)
            logged.loss(value)
    if not logged.totals:
        raise Invalid(f"{type(model).__name__}.{step} neither logs nor returns a number")
    return EvalResult(examples, logged.means())


def _step(
    model: Any, batch: Any, index: int, optimizer: torch.optim.Optimizer, logged: _Logged
) -> None:
    """One batch, as Lightning's automatic optimization does it."""
    logged.size = _size(batch)

    def closure() -> Any:
        value = model.training_step(batch, index)
        loss = value["loss"] if isinstance(value, Mapping) else value
        optimizer.zero_grad()
        if loss is not None:  # None: the module passes this batch over
            loss.backward()
            logged.loss(value)
        return None if loss is None else loss.detach()

    optimizer.step(closure)


def _require_what_is_done(model: nn.Module) -> None:
    name, base = type(model).__name__, base_of(model)
    for method in ("training_step", "configure_optimizers"):
        if not has_own(model, method):
            raise Invalid(f"the LightningModule {name} has no {method}; {_WAY_OUT}")
    if not getattr(model, "automatic_optimization", True):
        raise Invalid(f"the LightningModule {name} optimizes by hand; {_WAY_OUT}")
    hooks = [n for n in dir(base) if n.startswith(("on_train", "on_before", "on_after", "on_fit"))]
    own = [hook for hook in (*hooks, *_HOOKS) if has_own(model, hook)]
    if own:
        raise Invalid(f"only Lightning's Trainer calls {name}.{own[0]}; {_WAY_OUT}")


@dataclass(frozen=True)
class _Scheduled:
    scheduler: Any
    interval: str = "epoch"
    frequency: int = 1
    calls: list[str] = field(default_factory=list)


def _configured(model: Any) -> tuple[torch.optim.Optimizer, list[_Scheduled]]:
    """One optimizer and its schedulers, in any form that ``configure_optimizers`` may give them."""
    given = model.configure_optimizers()
    optimizers, schedulers = given, []
    if isinstance(given, Mapping):
        optimizers = given.get("optimizer")
        schedulers = [given["lr_scheduler"]] if "lr_scheduler" in given else []
    elif isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[1], list | tuple):
        optimizers, schedulers = given
    elif isinstance(given, tuple | list) and len(given) == 1 and isinstance(given[0], Mapping):
        optimizers = given[0].get("optimizer")
        schedulers = [given[0]["lr_scheduler"]] if "lr_scheduler" in given[0] else []
    if isinstance(optimizers, tuple | list) and len(optimizers) == 1:
        optimizers = optimizers[0]
    if not isinstance(optimizers, torch.optim.Optimizer):
        name = type(model).__name__
        raise Invalid(f"{name}.configure_optimizers gives not one optimizer; {_WAY_OUT}")
    return optimizers, [_scheduled(scheduler) for scheduler in schedulers]


def _scheduled(given: Any) -> _Scheduled:
    if not isinstance(given, Mapping):
        given = {"scheduler": given}
    scheduler = given["scheduler"]
    if type(scheduler).__name__ == "ReduceLROnPlateau" or given.get("reduce_on_plateau"):
        raise Invalid(
            f"a learning rate that follows a metric needs Lightning's Trainer; {_WAY_OUT}"
        )
    return _Scheduled(scheduler, given.get("interval", "epoch"), int(given.get("frequency", 1)))


def _advance(schedulers: Iterable[_Scheduled], when: str) -> None:
    for each in schedulers:
        if each.interval == when:
            each.calls.append(when)
            if len(each.calls) % each.frequency == 0:
                each.scheduler.step()


# --- what is logged ----------------------------------------------------------------------------------


class _Logged:
    """Means over the examples of what a module logs."""

    def __init__(self) -> None:
        self.size = 1  #: of the batch at work
        self.totals: dict[str, tuple[float, int]] = {}

    def clear(self) -> None:
        self.totals.clear()

    def add(self, name: str, value: Any) -> None:
        try:
            number = float(value.detach() if isinstance(value, torch.Tensor) else value)
        except (TypeError, ValueError, RuntimeError):
            return  # an object that measures, say; only numbers are kept
        total, examples = self.totals.get(name, (0.0, 0))
        self.totals[name] = total + number * self.size, examples + self.size

    def loss(self, value: Any) -> None:
        """What a step returned: the loss, or a dict with it."""
        loss = value.get("loss") if isinstance(value, Mapping) else value
        if loss is not None:
            self.add("loss", loss)

    def means(self) -> dict[str, float]:
        return {name: total / examples for name, (total, examples) in self.totals.items()}


@contextlib.contextmanager
def _logging_to(model: nn.Module, logged: _Logged) -> Iterator[None]:
    """``self.log`` and ``self.log_dict`` of the module, which would need a Trainer, for a while."""

    def log(name: str, value: Any, *_: Any, **__: Any) -> None:
        logged.add(name, value)

    def log_dict(values: Mapping[str, Any], *_: Any, **__: Any) -> None:
        for name, value in values.items():
            logged.add(name, value)

    vars(model).update(log=log, log_dict=log_dict)
    try:
        yield
    finally:
        for name in ("log", "log_dict"):
            vars(model).pop(name, None)


@contextlib.contextmanager
def _without_trainer() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "attached to a `Trainer`" not in str(error):
            raise
        raise Invalid(f"the LightningModule asks for its Trainer; {_WAY_OUT}") from error


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: _moved(item, device) for key, item in value.items()}
    return [_moved(item, device) for item in value] if isinstance(value, list | tuple) else value


def _size(batch: Any) -> int:
    """How many examples are in a batch: the length of the first tensor in it."""
    if isinstance(batch, torch.Tensor):
        return int(batch.shape[0]) if batch.ndim else 1
    items = batch.values() if isinstance(batch, Mapping) else batch
    return _size(next(iter(items))) if isinstance(batch, Mapping | list | tuple) and batch else 1
