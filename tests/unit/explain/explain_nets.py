"""Small models for tests of explanations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Cnn(nn.Module):
    """The two-convolution MNIST classifier."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class InPlace(nn.Module):
    """Every ReLU writes over the output of the convolution before it; with normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(4),
        )
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6 * 16, 3)
        self.unused = nn.Conv2d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.features(x).flatten(1)))


class Linear(nn.Module):
    """f = weights * x for class 1, nothing for class 0."""

    def __init__(self, weights: list[float], shape: tuple[int, int]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights).view(1, *shape))

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weights).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(score), score], 1)


class NoConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def cnn(seed: int = 0) -> Cnn:
    """A model with weights drawn by seed, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Cnn().eval()


def in_place(seed: int = 0) -> InPlace:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return InPlace().eval()


def pictures(count: int, seed: int = 0, side: int = 28) -> Tensor:
    """Random blobs on black."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 1, side // 4, side // 4, generator=generator)
    return F.interpolate((small > 0.6).float() * small, size=side, mode="bilinear")
