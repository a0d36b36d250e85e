"""A small model of handwritten digits, and an explainer of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from fedops.explain.explainers.options import Options
from fedops.explain.service.explainer import Explainer


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def new_model(seed: int = 0) -> Cnn:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Cnn()


def trained(model: Cnn, inputs: Tensor, labels: Tensor, epochs: int = 1) -> Cnn:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(32):
            loss = F.cross_entropy(model(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def copy_of(model: nn.Module) -> dict[str, Any]:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def opened(model: Any, data: Any, folder: Path, **options: Any) -> Explainer:
    return Explainer.open(model, Options(**{"samples": 6, **options}), data, folder=folder)


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report.json").read_text()))


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
