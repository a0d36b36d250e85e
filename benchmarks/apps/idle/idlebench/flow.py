"""Models that nobody trains."""

import torch
from torch import nn


class Model(nn.Module):
    """452,000 parameters (1.8 MB) unless the width is another one."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.first = nn.Linear(784, width)
        self.second = nn.Linear(width, 96)
        self.last = nn.Linear(96, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))


class Tiny(nn.Module):
    """A few bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.only(x)


def load_data():
    """One example."""
    data = torch.utils.data.TensorDataset(torch.zeros(1, 784), torch.zeros(1, dtype=torch.long))
    return data, data


def train(model, train_loader):
    """No work."""
    return {"loss": 0.0}


def evaluate(model, loader):
    """No work."""
    return {"loss": 0.0, "accuracy": 0.0}
