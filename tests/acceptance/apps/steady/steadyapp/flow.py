"""A model for FedOps' own PyTorch loop; each example that it is trained on is noted in ``STEADY_TRACE``.

Its update is large enough to travel as a file.
"""

import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

EXAMPLES = 16
TRACE = os.environ.get("STEADY_TRACE")
#: This device's data, by number.
_part = [0]


class Model(nn.Module):
    """``width`` times 40 numbers or so."""

    def __init__(self, width: int = 1000) -> None:
        super().__init__()
        self.hidden = nn.Linear(32, width)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if TRACE and self.training:
            with (Path(TRACE) / str(_part[0])).open("ab") as file:
                file.write(b"." * len(x))
        return self.out(self.dropout(torch.relu(self.hidden(x))))


class Examples(Dataset):
    """This device's own, and each takes its time."""

    def __init__(self, part: int, pace: float) -> None:
        generator = torch.Generator().manual_seed(100 + part)
        self._features = torch.randn(EXAMPLES, 32, generator=generator)
        self._labels = torch.arange(EXAMPLES) % 4
        self._pace = pace

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        time.sleep(self._pace)
        return self._features[index], self._labels[index]


def load_data(partition_index=0, pace=0.0):
    """Sixteen examples that take ``pace`` seconds each."""
    _part[0] = partition_index or 0
    return Examples(_part[0], pace)
