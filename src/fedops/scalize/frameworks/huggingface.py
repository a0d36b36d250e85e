"""The adapter of Hugging Face Transformers, with or without PEFT adapters such as LoRA.

With PEFT only what is trained travels: the adapter's weights, and heads that are trained whole. The base
model stays on every device as it was built there. Without PEFT the whole model travels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch.utils.data import DataLoader

from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.core.errors import Invalid
from fedops.scalize.adapter.parameter_exchange import TensorInfo
from fedops.scalize.adapter.protocol import AdapterOptions, EvalResult, TrainContext, TrainResult
from fedops.scalize.flow.datasets import count
from fedops.scalize.frameworks.pytorch import PyTorchAdapter
from fedops.scalize.frameworks.pytorch_epochs import Epochs
from fedops.scalize.frameworks.pytorch_loop import make_optimizer
from fedops.scalize.frameworks.running_metrics import RunningMetrics
from fedops.storage.tensors import Tensors


class HuggingFaceAdapter(PyTorchAdapter):
    """One Transformers model, kept warm."""

    wanted = "it must give a Transformers model"

    def __init__(self, model: Any, options: AdapterOptions | None = None) -> None:
        super().__init__(model, options)
        if isinstance(model, PeftModel):
            _require_life(self.contract, self.get_tensors(), "the model step built")

    def set_tensors(self, tensors: Tensors) -> None:
        _require_life(self.contract, tensors, "the global model holds")
        super().set_tensors(tensors)

    def _make_contract(self, infos: list[TensorInfo]) -> ParameterContract:
        contract = super()._make_contract(infos)
        return _only_trained(contract, infos) if isinstance(self.model, PeftModel) else contract

    def _movable(self) -> list[torch.Tensor]:
        """What an evaluation could change; the frozen base is not copied for it."""
        frozen = (p for p in self.model.parameters() if not p.requires_grad)
        kept = {id(parameter) for parameter in frozen}
        state = [*self.model.parameters(), *self.model.buffers()]
        return [tensor for tensor in state if id(tensor) not in kept]

    def _train(self, data: Any, context: TrainContext) -> TrainResult:
        """The default loop: the model's own loss of every batch."""
        optimizer = make_optimizer(self.options.optimizer, self.model, context.learning_rate)
        loader = _batches(data, context, shuffle=True)
        tally = RunningMetrics()
        for epoch in Epochs(context, self.model, optimizer, loader, tally):
            for batch in self._moved(epoch):
                context.check()
                optimizer.zero_grad()
                loss = self._loss(batch)[0]
                loss.backward()
                optimizer.step()
                tally.add(float(loss.detach()), _size(batch), None)
        return TrainResult(count(data, "the data step"), tally.metrics())

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
