"""The adapter of Hugging Face Transformers, with or without PEFT adapters such as LoRA.

With PEFT only what is trained travels: the adapter's weights, and heads that are trained whole. The base
model stays on every device as it was built there. Without PEFT the whole model travels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import nn
from torch.utils.data import DataLoader

from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.core.errors import Invalid
from fedops.scalize.base import AdapterOptions, EvalResult, TrainContext, TrainResult
from fedops.scalize.data import count
from fedops.scalize.exchange import TensorInfo, build_contract, incoming, outgoing
from fedops.scalize.pytorch_loop import make_loss, make_optimizer, own_batches, reseed
from fedops.scalize.randomness import kept_random_state, seed_everything
from fedops.scalize.steps import Lazy
from fedops.scalize.torch_tensors import (
    anchors_of,
    at_every_step,
    dtype_of,
    from_numpy,
    infos_of,
    named_tensors,
    pick_device,
    to_numpy,
    told,
    unchanged,
)
from fedops.tensors import Tensors


class HuggingFaceAdapter:
    """One Transformers model, kept warm."""

    def __init__(self, model: Any, options: AdapterOptions) -> None:
        if not isinstance(model, nn.Module):
            raise Invalid(
                f"the model step gave a {type(model).__name__}; it must give a Transformers model"
            )
        self._options = options
        self.device = pick_device(options.resources.accelerator)
        if options.resources.threads:
            torch.set_num_threads(options.resources.threads)
        self.model = model.to(self.device)
        self._tensors = named_tensors(model)
        self._own_dtypes = {name: dtype_of(tensor) for name, tensor in self._tensors.items()}
        infos = infos_of(self._tensors)
        self._contract = build_contract(infos, options.exchange)
        if isinstance(model, PeftModel):
            self._contract = _only_trained(self._contract, infos)
            _require_life(self._contract, self.get_tensors(), "the model step built")

    @property
    def contract(self) -> ParameterContract:
        return self._contract

    def get_tensors(self) -> Tensors:
        arrays = {name: to_numpy(tensor) for name, tensor in self._tensors.items()}
        return outgoing(self._contract, arrays)

    def set_tensors(self, tensors: Tensors) -> None:
        arrays = incoming(self._contract, tensors, self._own_dtypes)
        _require_life(self._contract, arrays, "the global model holds")
        with torch.no_grad():
            for name, array in arrays.items():
                self._tensors[name].copy_(from_numpy(array))

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        seed_everything(context.seed)
        reseed(data, context.seed)
        own = self._options.train
        mu = 0.0 if own and own.takes("proximal_mu") else context.proximal_mu
        anchors = anchors_of(self._contract, self._tensors) if mu else {}
        self.model.train()
        with at_every_step(context, anchors, mu):
            if own:
                offers = self._offers(context) | {"train_data": data}
                return own(offers, self._adopt, partial(own_batches, context))
            with told("training"):
                return self._train(data, context)

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        own = self._options.evaluate
        with kept_random_state(), unchanged(self.model, self._movable()):
            seed_everything(context.seed)
            self.model.eval()
            if own:
                return own(self._offers(context) | {"data": data}, partial(own_batches, context))
            with told("evaluation"):
                return self._evaluate(data, context)

    def _train(self, data: Any, context: TrainContext) -> TrainResult:
        """The default loop: the model's own loss of every batch."""
        optimizer = make_optimizer(self._options.optimizer, self.model, context.learning_rate)
        loader = _batches(data, context, shuffle=True)
        metrics: dict[str, float] = {}
        for _ in range(context.epochs):
            total, seen = 0.0, 0
            for batch in self._moved(loader):
                context.check()
                optimizer.zero_grad()
                loss = self._loss(batch)[0]
                loss.backward()
                optimizer.step()
                seen += (size := _size(batch))
                total += float(loss.detach()) * size
            metrics = {"loss": total / seen} if seen else {}
        return TrainResult(count(data, "the data step"), metrics)

    @torch.no_grad()
    def _evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        total, correct, seen, classified = 0.0, 0, 0, False
        for batch in self._moved(_batches(data, context, shuffle=False)):
            context.check()
            loss, output = self._loss(batch)
            seen += (size := _size(batch))
            total += float(loss) * size
            hits = _hits(output, batch)
            classified = hits is not None
            correct += hits or 0
        accuracy = {"accuracy": correct / seen} if seen and classified else {}
        return EvalResult(seen, {"loss": total / seen, **accuracy} if seen else {})

    def _loss(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        output = self.model(**batch)
        loss = getattr(output, "loss", None)
        if loss is None:
            raise Invalid(
                "the model gave no loss for a batch: the data needs 'labels' "
                f"beside {sorted(batch)}, or name your own train function in [tool.fedops.flow]"
            )
        return loss, output

    def _moved(self, loader: Iterable[Any]) -> Iterable[dict[str, Any]]:
        for batch in loader:
            if not isinstance(batch, Mapping):
                raise Invalid(
                    f"the default loop needs batches as dicts of model inputs; the data gives a "
                    f"{type(batch).__name__}; name your own train function in [tool.fedops.flow]"
                )
            yield {name: value.to(self.device) for name, value in batch.items()}

    def _movable(self) -> list[torch.Tensor]:
        """What an evaluation could change; the frozen base is not copied for it."""
        frozen = (p for p in self.model.parameters() if not p.requires_grad)
        kept = {id(parameter) for parameter in frozen}
        state = [*self.model.parameters(), *self.model.buffers()]
        return [tensor for tensor in state if id(tensor) not in kept]

    def _offers(self, context: TrainContext) -> dict[str, Any]:
        part, rate = self._options.optimizer, context.learning_rate
        return {
            "model": self.model,
            "context": context,
            "device": self.device,
            "optimizer": Lazy(lambda: make_optimizer(part, self.model, rate)),
            "loss": Lazy(lambda: make_loss(self._options.loss) or nn.CrossEntropyLoss()),
        }

    def _adopt(self, returned: Any) -> bool:
        """A train function may give back another model of the same build: its weights are taken."""
        if not isinstance(returned, nn.Module):
            return False
        if returned is not self.model:
            self.set_tensors({n: to_numpy(t) for n, t in named_tensors(returned).items()})
        return True


def _only_trained(contract: ParameterContract, infos: list[TensorInfo]) -> ParameterContract:
    """What gradients do not reach stays local: the base model and its buffers."""
    own = {info.name: info for info in infos}
    specs = tuple(
        spec if own[spec.name].trainable and not own[spec.name].buffer else _local(spec, own)
        for spec in contract.parameters
    )
    found = ParameterContract(parameters=specs)
    if not found.federated:
        raise Invalid("no tensor of the PEFT model would travel: nothing in it is trainable")
    return found


def _local(spec: ParameterSpec, own: Mapping[str, TensorInfo]) -> ParameterSpec:
    update = {"rule": ExchangeRule.LOCAL, "dtype": own[spec.name].dtype}
    return spec.model_copy(update=update)


def _require_life(contract: ParameterContract, tensors: Tensors, whose: str) -> None:
    """With both factors of a LoRA pair at zero, both gradients are zero, and nothing is ever learnt."""
    for spec in contract.federated:
        partner = spec.name.replace(".lora_A.", ".lora_B.")
        if partner == spec.name or not {spec.name, partner} <= set(tensors):
            continue
        if not np.any(tensors[spec.name]) and not np.any(tensors[partner]):
            raise Invalid(
                f"{whose} a LoRA pair of zeros ('{spec.name}' and its lora_B), which cannot learn; "
                "A must be random at first (init_lora_weights=True, PEFT's default)"
            )


def _batches(data: Any, context: TrainContext, shuffle: bool) -> Any:
    if isinstance(data, DataLoader):
        return data
    generator = torch.Generator().manual_seed(context.seed % 2**63)
    return DataLoader(data, context.batch_size, shuffle=shuffle, generator=generator)


def _size(batch: Mapping[str, Any]) -> int:
    return int(next(iter(batch.values())).shape[0])


def _hits(output: Any, batch: Mapping[str, Any]) -> int | None:
    """How many examples are classified rightly; None where an example has no one class."""
    logits, labels = getattr(output, "logits", None), batch.get("labels")
    if logits is None or labels is None or logits.ndim != 2 or labels.ndim != 1:
        return None
    if labels.is_floating_point():
        return None
    return int((logits.argmax(dim=-1) == labels).sum())
