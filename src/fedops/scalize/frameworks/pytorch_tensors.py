"""Tensors of torch modules as named arrays and back, bit for bit, and what every torch loop gets.

What is a parameter and what a buffer is asked of the module, never read from a name. Tied tensors
are named once, by their first name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from fedops.core.contracts import ExchangeRule, ParameterContract
from fedops.core.errors import FedOpsError, Invalid
from fedops.scalize.adapter.parameter_exchange import TensorInfo
from fedops.scalize.adapter.protocol import Cancelled, TrainContext
from fedops.scalize.flow.target_import import import_advice

ProximalReference = dict[torch.Tensor, torch.Tensor]
#: dtypes that numpy has by way of ml_dtypes: the integer type of the same width, and its own.
_BY_BITS: dict[torch.dtype, tuple[torch.dtype, Any]] = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.uint8, ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: (torch.uint8, ml_dtypes.float8_e5m2),
}


@contextmanager
def at_every_step(context: TrainContext, anchors: ProximalReference, mu: float) -> Iterator[None]:
    """Whoever steps an optimizer in this thread, the project's own loop included: training can
    be cancelled there, and gets FedProx's term, whose gradient is mu (w - w_global)."""
    thread = threading.get_ident()

    def before_step(optimizer: Optimizer, *_: Any) -> None:
        if threading.get_ident() == thread:
            context.check()
            _pull_towards(optimizer, anchors, mu)

    handle = register_optimizer_step_pre_hook(before_step)
    try:
        yield
    finally:
        handle.remove()


def anchors_of(
    contract: ParameterContract, tensors: Mapping[str, torch.Tensor]
) -> ProximalReference:
    """The global model: every trainable tensor that travels, and its value before training."""
    federated = (s.name for s in contract.parameters if s.rule is not ExchangeRule.LOCAL)
    trainable = (tensors[name] for name in federated if tensors[name].requires_grad)
    return {tensor: tensor.detach().clone() for tensor in trainable}


def _pull_towards(optimizer: Optimizer, anchors: ProximalReference, mu: float) -> None:
    with torch.no_grad():
        for group in optimizer.param_groups if anchors else ():
            for parameter in group["params"]:
                if parameter.grad is not None and parameter in anchors:
                    parameter.grad.add_(parameter - anchors[parameter], alpha=mu)


@contextmanager
def is_unchanged(model: nn.Module, state: Iterable[torch.Tensor] | None = None) -> Iterator[None]:
    """Whatever the block does to the model's modes and tensors (or those of ``state``) is undone."""
    modes = [(module, module.training) for module in model.modules()]
    state = [*model.parameters(), *model.buffers()] if state is None else state
    saved = [(tensor, tensor.detach().clone(), tensor.requires_grad) for tensor in state]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value, requires_grad in saved:
                tensor.copy_(value)
                tensor.requires_grad_(requires_grad)
        for module, training in modes:
            module.training = training


@contextmanager
def training_context(what: str) -> Iterator[None]:
    """What the model or PyTorch raises inside the default loop, as one message."""
    try:
        yield
    except (FedOpsError, Cancelled):
        raise
    except Exception as error:
        raise Invalid(f"the default {what} loop failed: {import_advice(error)}") from error


def named_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and persistent buffers in the order of ``state_dict``, tied ones once."""
    named: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    named |= dict(model.named_buffers(remove_duplicate=False))
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name in model.state_dict():
        tensor = named.get(name)  # None for what modules add beside tensors of their own
        if tensor is not None and id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def tied_tensors(model: nn.Module) -> dict[str, str]:
    """Further names of tensors that travel under another name: each with that name."""
    first: dict[int, str] = {}
    named: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    named |= dict(model.named_buffers(remove_duplicate=False))
    names = [(name, id(named[name])) for name in model.state_dict() if name in named]
    for name, key in names:
        first.setdefault(key, name)
    return {name: first[key] for name, key in names if first[key] != name}


def infos_of(state: Mapping[str, torch.Tensor]) -> list[TensorInfo]:
    return [_info(name, tensor) for name, tensor in state.items()]


def _info(name: str, tensor: torch.Tensor) -> TensorInfo:
    if is_lazy(tensor):
        raise Invalid(
            f"'{name}' has no shape before the first batch (a Lazy layer); give the layer its sizes, or "
            "let the model step run one batch through the model"
        )
    if tensor.layout is not torch.strided:
        raise Invalid(f"'{name}' is stored as {tensor.layout}; only dense tensors can be exchanged")
    if any(
        size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    ):
        raise Invalid(
            f"'{name}' has elements that share memory (it was made with expand), so it cannot be written to;"
            " add .clone() where the model makes it"
        )
    buffer = not isinstance(tensor, nn.Parameter)
    return TensorInfo(
        name, tuple(tensor.shape), dtype_of(tensor), buffer=buffer, trainable=tensor.requires_grad
    )


def dtype_of(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def to_numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """The tensor's values as an array, bit for bit; may share memory with it."""
    dense = tensor.detach().cpu().contiguous()
    if dense.dtype in _BY_BITS:
        bits, numpy_type = _BY_BITS[dense.dtype]
        viewed: npt.NDArray[Any] = dense.view(bits).numpy().view(numpy_type)
        return viewed
    array: npt.NDArray[Any] = dense.numpy()
    return array


def from_numpy(array: npt.NDArray[Any]) -> torch.Tensor:
    """The other way, bit for bit. ``array`` must be writable, since memory is shared."""
    for dtype, (bits, numpy_type) in _BY_BITS.items():
        if array.dtype == numpy_type:
            width = np.dtype(str(bits).removeprefix("torch."))
            return torch.from_numpy(array.view(width)).view(dtype)
    return torch.from_numpy(array)
