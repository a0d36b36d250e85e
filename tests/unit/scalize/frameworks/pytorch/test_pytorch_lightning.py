"""A LightningModule is trained by its own methods. The base class here is Lightning's without a Trainer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fedops.core.errors import Invalid
from fedops.scalize.adapter.conformance import CONTEXT
from fedops.scalize.adapter.random_state import seed_everything
from fedops.scalize.frameworks.pytorch import PyTorchAdapter
from fedops.testing import check_adapter


class LightningModule(nn.Module):
    automatic_optimization = True

    @property
    def trainer(self) -> Any:
        raise RuntimeError("Lit is not attached to a `Trainer`.")

    def log(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("nobody takes what is logged")

    log_dict = log

    def training_step(self, batch: Any, index: int) -> Any: ...

    def validation_step(self, batch: Any, index: int) -> Any: ...

    def test_step(self, batch: Any, index: int) -> Any: ...

    def configure_optimizers(self) -> Any: ...

    def on_train_epoch_start(self) -> None: ...


class Lit(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, 2)

    def training_step(self, batch: Any, index: int) -> Any:
        x, y = batch
        weights = torch.tensor([1.0, 10.0])
        loss = nn.functional.cross_entropy(self.out(x), y, weights, label_smoothing=0.2)
        self.log("train_loss", loss, prog_bar=True)
        return {"loss": loss}

    def validation_step(self, batch: Any, index: int) -> None:
        right = (self.out(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log_dict({"accuracy": right})

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)]


def _data() -> TensorDataset:
    x = torch.randn(42, 3, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x[:, 0] > 0.5).long())


def _adapter(kind: type[nn.Module] = Lit) -> PyTorchAdapter:
    seed_everything(7)
    return PyTorchAdapter(kind())


def _by_hand(model: Any, loader: DataLoader[Any], epochs: int) -> None:
    [optimizer], [scheduler] = model.configure_optimizers()
    model.log = lambda *_, **__: None
    for _ in range(epochs):
        for index, batch in enumerate(loader):
            optimizer.zero_grad()
            model.training_step(batch, index)["loss"].backward()
            optimizer.step()
        scheduler.step()


def test_it_is_trained_as_the_module_says() -> None:
    loader = DataLoader(_data(), 8)
    adapter, alone = _adapter(), _adapter()
    result = adapter.train(loader, replace(CONTEXT, epochs=2))
    _by_hand(alone.model, loader, 2)
    for name, tensor in alone.get_tensors().items():
        assert adapter.get_tensors()[name].tobytes() == tensor.tobytes(), name
    assert result.examples == 42
    assert set(result.metrics) == {"train_loss", "loss"}
    judged = adapter.evaluate(_data(), CONTEXT)
    right = (adapter.model.out(_data().tensors[0]).argmax(1) == _data().tensors[1]).float()
    assert judged.examples == 42
    assert judged.metrics["accuracy"] == pytest.approx(float(right.mean()))


def test_it_keeps_what_every_adapter_promises() -> None:
    check_adapter(lambda seed: _adapter(), _data())


class Hooked(Lit):
    def on_train_epoch_start(self) -> None:
        self.out.weight.requires_grad = False


class ByHand(Lit):
    automatic_optimization = False


class AsksTheTrainer(Lit):
    def training_step(self, batch: Any, index: int) -> Any:
        return self.trainer.world_size


class TwoOptimizers(Lit):
    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.parameters(), lr=rate) for rate in (0.1, 0.2)]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Hooked, "only Lightning's Trainer calls Hooked.on_train_epoch_start"),
        (ByHand, "ByHand optimizes by hand"),
        (AsksTheTrainer, "asks for its Trainer"),
        (TwoOptimizers, "TwoOptimizers.configure_optimizers gives not one optimizer"),
    ],
)
def test_what_needs_a_trainer_is_refused(kind: type[nn.Module], why: str) -> None:
    with pytest.raises(Invalid, match=rf"{why}.*fedops init \. -- python train\.py"):
        _adapter(kind).train(_data(), CONTEXT)
