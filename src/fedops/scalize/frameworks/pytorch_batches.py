"""What a module is given, batch by batch: loaders in a seeded order, and batches as inputs and labels."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list
from fedops.scalize.adapter.protocol import TrainContext
from fedops.scalize.flow.datasets import is_pair

_LABELS = ("label", "labels", "y", "target", "targets")


def batches(
    data: Any, context: TrainContext, shuffle: bool, *, even: bool = False
) -> Iterable[Any]:
    """Batches in an order that depends on the seed only. A project's own loader is taken as it is.

    With ``even``, a last batch of a single example is left out: batch normalisation cannot use it.
    """
    if isinstance(data, DataLoader):
        return data
    dataset: Any = _as_tensors(data) if is_pair(data) else data
    generator = torch.Generator().manual_seed(context.seed % 2**63)
    size = len(dataset)
    drop = even and size > 1 and size % context.batch_size == 1
    order: Any = (
        RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
    )
    groups = BatchSampler(order, context.batch_size, drop_last=drop)
    if isinstance(dataset, TensorDataset):  # a batch at once instead of example by example
        return DataLoader(dataset, sampler=groups, batch_size=None, generator=generator)
    return DataLoader(dataset, batch_sampler=groups, generator=generator)


def own_batches(context: TrainContext, data: Any, shuffle: bool) -> Any:
    """A loader for a project's own loop, where its data step gave a data set or a pair of arrays."""
    dataset: Any = _as_tensors(data) if is_pair(data) else data
    if isinstance(data, DataLoader) or not hasattr(dataset, "__getitem__"):
        return data
    generator = torch.Generator().manual_seed(context.seed % 2**63)
    return DataLoader(dataset, context.batch_size, shuffle=shuffle, generator=generator)


def reseed(data: Any, seed: int) -> None:
    """A loader with generators of its own starts anew from ``seed``."""
    for holder in (data, getattr(data, "sampler", None)):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed % 2**63)


def _as_tensors(pair: Any) -> TensorDataset:
    features, labels = (torch.as_tensor(part) for part in pair)
    if features.dtype == torch.float64:
        features = features.float()
    if labels.dtype == torch.float64:
        labels = labels.float()
    return TensorDataset(features, labels if labels.is_floating_point() else labels.long())


# --- inputs and labels -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Inputs:
    """What a batch gives the model's ``forward``."""

    arguments: Sequence[Any] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    def through(self, model: nn.Module) -> Any:
        return model(*self.arguments, **self.named)


def examples(
    model: nn.Module, loader: Iterable[Any], device: torch.device
) -> Iterator[tuple[Inputs, torch.Tensor]]:
    """Inputs and labels of every batch, on the device.

    Batches are ``(inputs, labels)``, a dict with one of the usual names for the labels, or ``(a, b, labels)``
    where the model's ``forward`` takes exactly so many inputs.

    Raises:
        Invalid: it is not sure which part of a batch is what.
    """
    for batch in loader:
        inputs, target = _taken_apart(model, batch)
        yield (
            Inputs(_moved(list(inputs.arguments), device), _moved(dict(inputs.named), device)),
            _moved(target, device),
        )


def _taken_apart(model: nn.Module, batch: Any) -> tuple[Inputs, Any]:
    required, known = _forward(model)
    if isinstance(batch, list | tuple) and len(batch) >= 2:
        *inputs, target = batch
        if len(batch) == 2 or required == len(inputs):
            return Inputs(inputs), target
    label = (
        next((name for name in _LABELS if name in batch), None)
        if isinstance(batch, Mapping)
        else None
    )
    if label is not None:
        named = {name: value for name, value in batch.items() if name != label}
        if len(named) == 1:
            return Inputs(list(named.values())), batch[label]
        if named.keys() <= known.keys() and required <= len(named):
            return Inputs(named=named), batch[label]
    raise Invalid(
        "the default loop needs batches of (inputs, labels), or of as many inputs as the model's forward "
        f"takes ({comma_list(known)}) and the labels; the data gives {_words(batch)}; name your own train "
        "and evaluate functions in [tool.fedops.flow]"
    )


def _words(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"a dict of {comma_list(map(str, batch))}"
    size = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
    return f"a {type(batch).__name__}{size}"


def _forward(model: nn.Module) -> tuple[int, dict[str, None]]:
    """How many inputs a model's ``forward`` has to get, and the names of all that it takes."""
    found = [
        parameter
        for parameter in inspect.signature(model.forward).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    required = sum(parameter.default is parameter.empty for parameter in found)
    return required, dict.fromkeys(parameter.name for parameter in found)


def _moved(value: Any, device: torch.device) -> Any:
    """The same with its tensors on the device, however deep they lie."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _moved(item, device) for name, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_moved(item, device) for item in value)
    return value
