"""The PyTorch adapter: an ``nn.Module`` as named arrays that can be trained and evaluated.

What is a parameter and what a buffer is asked of the module, never read from a name. Tied tensors
travel once, under their first name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
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
from fedops.scalize.base import AdapterOptions, Cancelled, EvalResult, TrainContext, TrainResult
from fedops.scalize.exchange import TensorInfo, build_contract, incoming, outgoing
from fedops.scalize.pytorch_loop import evaluate_loop, make_loss, make_optimizer, reseed, train_loop
from fedops.scalize.randomness import kept_random_state, seed_everything
from fedops.scalize.steps import Lazy
from fedops.scalize.targets import explain
from fedops.tensors import Tensors

#: dtypes that numpy has by way of ml_dtypes: the integer type of the same width, and its own.
_BY_BITS: dict[torch.dtype, tuple[torch.dtype, Any]] = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.uint8, ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: (torch.uint8, ml_dtypes.float8_e5m2),
}


class PyTorchAdapter:
    """Holds one module, warm between rounds, on the device it trains on."""

    def __init__(self, model: Any, options: AdapterOptions | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise Invalid(
                f"the model step gave a {type(model).__name__}; PyTorch needs a torch.nn.Module"
            )
        self.options = options or AdapterOptions()
        self.device = _device(self.options.resources.accelerator)
        if self.options.resources.threads:
            torch.set_num_threads(self.options.resources.threads)
        self.model = model.to(self.device)
        self._tensors = _state(model)
        self._own_dtypes = {name: _dtype(tensor) for name, tensor in self._tensors.items()}
        self._contract = build_contract(_infos(self._tensors), self.options.exchange)

    @property
    def contract(self) -> ParameterContract:
        return self._contract

    def get_tensors(self) -> Tensors:
        arrays = {name: to_numpy(tensor) for name, tensor in self._tensors.items()}
        return outgoing(self._contract, arrays)

    def set_tensors(self, tensors: Tensors) -> None:
        arrays = incoming(self._contract, tensors, self._own_dtypes)
        with torch.no_grad():
            for name, array in arrays.items():
                self._tensors[name].copy_(from_numpy(array))

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        seed_everything(context.seed)
        reseed(data, context.seed)
        own = self.options.train
        mu = 0.0 if own and own.takes("proximal_mu") else context.proximal_mu
        self.model.train()
        with self._at_every_step(context, mu):
            if own:
                return own(self._offers(context) | {"train_data": data}, self._adopt)
            optimizer = make_optimizer(self.options.optimizer, self.model, context.learning_rate)
            loss = make_loss(self.options.loss)
            with told("training"):
                return train_loop(self.model, data, context, optimizer, loss, self.device)

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        own = self.options.evaluate
        with kept_random_state(), unchanged(self.model):
            seed_everything(context.seed)
            self.model.eval()
            if own:
                return own(self._offers(context) | {"data": data})
            loss = make_loss(self.options.loss)
            with told("evaluation"):
                return evaluate_loop(self.model, data, context, loss, self.device)

    def _offers(self, context: TrainContext) -> dict[str, Any]:
        part, rate = self.options.optimizer, context.learning_rate
        return {
            "model": self.model,
            "context": context,
            "device": self.device,
            "optimizer": Lazy(lambda: make_optimizer(part, self.model, rate)),
            "loss": Lazy(lambda: make_loss(self.options.loss) or nn.CrossEntropyLoss()),
        }

    def _adopt(self, returned: Any) -> bool:
        """A train function may give back another module of the same build: its weights are taken."""
        if not isinstance(returned, nn.Module):
            return False
        if returned is not self.model:
            arrays = {name: to_numpy(tensor) for name, tensor in _state(returned).items()}
            self.set_tensors(arrays)
        return True

    @contextmanager
    def _at_every_step(self, context: TrainContext, mu: float) -> Iterator[None]:
        """Whoever steps an optimizer in this thread, the project's own loop included: training can
        be cancelled there, and gets FedProx's term, whose gradient is mu (w - w_global)."""
        anchors = self._anchors() if mu else {}
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

    def _anchors(self) -> dict[torch.Tensor, torch.Tensor]:
        """The global model: every trainable tensor that travels, and its value before training."""
        federated = (s.name for s in self._contract.parameters if s.rule is not ExchangeRule.LOCAL)
        tensors = (self._tensors[name] for name in federated)
        return {tensor: tensor.detach().clone() for tensor in tensors if tensor.requires_grad}


def _pull_towards(
    optimizer: Optimizer, anchors: Mapping[torch.Tensor, torch.Tensor], mu: float
) -> None:
    with torch.no_grad():
        for group in optimizer.param_groups if anchors else ():
            for parameter in group["params"]:
                if parameter.grad is not None and parameter in anchors:
                    parameter.grad.add_(parameter - anchors[parameter], alpha=mu)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Whatever the block does to weights, buffers or modes of the model is undone."""
    modes = [(module, module.training) for module in model.modules()]
    state = [*model.parameters(), *model.buffers()]
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
def told(what: str) -> Iterator[None]:
    """What the model or PyTorch raises inside the default loop, as one message."""
    try:
        yield
    except (FedOpsError, Cancelled):
        raise
    except Exception as error:
        raise Invalid(f"the default {what} loop failed: {explain(error)}") from error


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
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


def _infos(state: Mapping[str, torch.Tensor]) -> list[TensorInfo]:
    return [_info(name, tensor) for name, tensor in state.items()]


def _info(name: str, tensor: torch.Tensor) -> TensorInfo:
    if is_lazy(tensor):
        raise Invalid(
            f"'{name}' has no shape before the first batch (a Lazy layer); give the layer its sizes, or "
            "let the model step run one batch through the model"
        )
    if tensor.layout is not torch.strided:
        raise Invalid(f"'{name}' is stored as {tensor.layout}; only dense tensors can be exchanged")
    buffer = not isinstance(tensor, nn.Parameter)
    return TensorInfo(
        name, tuple(tensor.shape), _dtype(tensor), buffer=buffer, trainable=tensor.requires_grad
    )


def _dtype(tensor: torch.Tensor) -> str:
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


def _device(accelerator: str) -> torch.device:
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise Invalid(
            "[resources] accelerator = 'cuda', but PyTorch sees no CUDA device here; use 'auto' or 'cpu'"
        )
    cuda = accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if cuda else "cpu")
