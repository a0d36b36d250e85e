"""Models, data and contexts for the tests of the PyTorch adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from fedops.scalize.adapter.protocol import AdapterOptions, TrainContext
from fedops.scalize.flow.custom_loops import OwnEvaluate, OwnTrain
from fedops.scalize.flow.signature_binding import plan
from fedops.scalize.frameworks.pytorch import PyTorchAdapter


class Odd(nn.Module):
    """Everything that has ever been lost on the way: see the comments."""

    def __init__(self) -> None:
        super().__init__()
        self.subnet = nn.Linear(4, 6)  # names that hold "bn" by chance
        self.bnorm_head = nn.Linear(6, 3)
        self.norm = nn.BatchNorm1d(6)
        self.tied = nn.Linear(4, 6)
        self.tied.weight = self.subnet.weight
        self.sixteen = nn.Parameter(torch.randn(3).half())
        self.brain = nn.Parameter(torch.randn(3).bfloat16())
        self.eighth = nn.Parameter(torch.randn(3).to(torch.float8_e4m3fn), requires_grad=False)
        self.scale = nn.Parameter(torch.tensor(2.0))  # 0-d
        self.across = nn.Parameter(torch.randn(5, 4).t())  # not contiguous
        self.frozen = nn.Parameter(torch.randn(2), requires_grad=False)
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("cache", torch.randn(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.norm(self.subnet(x) + self.tied(x)))
        hidden = F.dropout(hidden, 0.1, self.training)
        return self.bnorm_head(hidden) * self.scale


def context(**changes: Any) -> TrainContext:
    values = {"round": 1, "seed": 7, "epochs": 2, "batch_size": 8, "learning_rate": 0.01}
    return TrainContext(**{**values, **changes})


def odd(seed: int = 0, **options: Any) -> PyTorchAdapter:
    torch.manual_seed(seed)
    return PyTorchAdapter(Odd(), AdapterOptions(**options))


def data(size: int = 30, seed: int = 3) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator)
    return TensorDataset(x, (x.sum(1) > 0).long())


def bits(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (a.dtype.name, a.shape, a.tobytes()) for name, a in tensors.items()}


def classifier(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)
    )


def own_train(model, train_set, epochs, lr):
    loader = DataLoader(train_set, batch_size=8, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def with_own(train: Any = None, evaluate: Any = None) -> PyTorchAdapter:
    options = AdapterOptions(
        train=OwnTrain(plan("train", "app.train", train, {}, []), {}) if train else None,
        evaluate=OwnEvaluate(plan("evaluate", "app.evaluate", evaluate, {}, []), {})
        if evaluate
        else None,
    )
    return PyTorchAdapter(classifier(), options)
