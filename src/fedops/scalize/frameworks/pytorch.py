"""The PyTorch adapter: an ``nn.Module`` as named arrays that can be trained and evaluated."""

from __future__ import annotations

import importlib
import logging
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from fedops.core.contracts import ParameterContract
from fedops.core.errors import Invalid
from fedops.scalize.adapter.parameter_exchange import TensorInfo, build_contract, incoming, outgoing
from fedops.scalize.adapter.protocol import (
    AdapterOptions,
    EvalResult,
    TrainContext,
    TrainLoop,
    TrainResult,
)
from fedops.scalize.adapter.random_state import kept_random_state, seed_everything
from fedops.scalize.flow.datasets import count
from fedops.scalize.flow.signature_binding import Lazy
from fedops.scalize.flow.step_arguments import TRAINING_DATA
from fedops.scalize.frameworks.pytorch_batches import own_batches, reseed
from fedops.scalize.frameworks.pytorch_counting import counted_examples
from fedops.scalize.frameworks.pytorch_device import pick_accelerator, torch_device
from fedops.scalize.frameworks.pytorch_lightning import (
    evaluate_lightning,
    is_lightning,
    train_lightning,
)
from fedops.scalize.frameworks.pytorch_loop import (
    evaluate_loop,
    gradient_loop,
    make_loss,
    make_optimizer,
    train_loop,
)
from fedops.scalize.frameworks.pytorch_tensors import (
    anchors_of,
    at_every_step,
    dtype_of,
    from_numpy,
    infos_of,
    is_unchanged,
    named_tensors,
    tied_tensors,
    to_numpy,
    training_context,
)
from fedops.storage.tensors import Tensors

logger = logging.getLogger("fedops.training")


class PyTorchAdapter:
    """Holds one module, warm between rounds, on the device it trains on.

    Other kinds of modules have adapters that differ in the few methods below "what kinds of modules differ
    in".
    """

    #: What the model step has to give, for who gave something else.
    wanted = "PyTorch needs a torch.nn.Module"

    def __init__(self, model: Any, options: AdapterOptions | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise Invalid(f"the model step gave a {type(model).__name__}; {self.wanted}")
        self.options = options or AdapterOptions()
        self.accelerator = pick_accelerator(self.options.resources)
        self.device = torch_device(self.accelerator)
        if self.options.resources.threads:
            torch.set_num_threads(self.options.resources.threads)
        self.model = model.to(self.device)
        self._tensors = named_tensors(model)
        self._own_dtypes = {name: dtype_of(tensor) for name, tensor in self._tensors.items()}
        self._contract = self._make_contract(infos_of(self._tensors))

    @property
    def tied(self) -> dict[str, str]:
        """Names of tensors that travel under another name: each with that name."""
        return tied_tensors(self.model)

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

    def warm_up(self) -> None:
        """Import now what torch imports in the first step of any optimizer: a second or more."""
        importlib.import_module("torch._dynamo")

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        seed_everything(context.seed)
        reseed(data, context.seed)
        own = self.options.train
        mu = 0.0 if own and own.takes("proximal_mu") else context.proximal_mu
        self.model.train()
        anchors = anchors_of(self._contract, self._tensors) if mu else {}
        with at_every_step(context, anchors, mu):
            if own:
                return self._train_by(own, data, context)
            with training_context("training"):
                return self._train(data, context)

    def _train_by(self, own: TrainLoop, data: Any, context: TrainContext) -> TrainResult:
        """The project's own step. Where it loads its own data, that is what its weight is counted by."""
        offers = self._offers(context) | {"train_data": data}
        batch = partial(own_batches, context)
        if any(own.takes(key) for key in TRAINING_DATA):
            return own(offers, self._adopt, batch)
        with counted_examples() as counted:
            result = own(offers, self._adopt, batch)
        if result.examples != count(data, "the data step"):
            return result  # it says itself how many there were
        if not counted.in_a_pass:
            logger.warning("the examples of the train step, which loads its own, cannot be counted")
            return result
        return replace(result, examples=counted.in_a_pass)

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        own = self.options.evaluate
        with kept_random_state(), is_unchanged(self.model, self._movable()):
            seed_everything(context.seed)
            self.model.eval()
            if own:
                return own(self._offers(context) | {"data": data}, partial(own_batches, context))
            with training_context("evaluation"):
                return self._evaluate(data, context)

    def gradient(self, data: Any, context: TrainContext) -> Tensors | None:
        """Of the mean loss on ``data``; None where an own loop decides what is lost."""
        own = self.options.evaluate or type(self)._evaluate is not PyTorchAdapter._evaluate
        if own or is_lightning(self.model):
            return None
        with kept_random_state(), is_unchanged(self.model, self._movable()):
            seed_everything(context.seed)
            self.model.eval()
            loss = make_loss(self.options.loss)
            found = gradient_loop(self.model, data, context, loss, self.device)
        names = {id(tensor): name for name, tensor in self._tensors.items()}
        return {names[id(p)]: to_numpy(g) for p, g in found if id(p) in names}

    def _offers(self, context: TrainContext) -> dict[str, Any]:
        part, rate = self.options.optimizer, context.learning_rate
        optimizer = Lazy(lambda: make_optimizer(part, self.model, rate))
        return {
            "model": self.model,
            "context": context,
            "device": self.device,
            "optimizer": optimizer,
            "scheduler": Lazy(lambda: LambdaLR(optimizer.value, lambda _: 1.0)),
            "loss": Lazy(lambda: make_loss(self.options.loss) or nn.CrossEntropyLoss()),
        }

    def _adopt(self, returned: Any) -> bool:
        """A train function may give back another module of the same build: its weights are taken."""
        if not isinstance(returned, nn.Module):
            return False
        if returned is not self.model:
            arrays = {name: to_numpy(tensor) for name, tensor in named_tensors(returned).items()}
            self.set_tensors(arrays)
        return True

    # --- what kinds of modules differ in -----------------------------------------------------------

    def _make_contract(self, infos: list[TensorInfo]) -> ParameterContract:
        return build_contract(infos, self.options.exchange)

    def _movable(self) -> list[torch.Tensor]:
        """What an evaluation could change."""
        return [*self.model.parameters(), *self.model.buffers()]

    def _train(self, data: Any, context: TrainContext) -> TrainResult:
        """The default loop, or a LightningModule's own."""
        if is_lightning(self.model):
            return train_lightning(self.model, data, context, self.device)
        optimizer = make_optimizer(self.options.optimizer, self.model, context.learning_rate)
        loss = make_loss(self.options.loss)
        return train_loop(self.model, data, context, optimizer, loss, self.device)

    def _evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        if is_lightning(self.model):
            found = evaluate_lightning(self.model, data, context, self.device)
            if found is not None:
                return found
        loss = make_loss(self.options.loss)
        return evaluate_loop(self.model, data, context, loss, self.device)
