"""The files of a small project, and how tests change them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedops.core.errors import FedOpsError
from fedops.scalize.adapter.protocol import TrainContext

PYPROJECT = """
[project]
name = "my-app"
version = "1"

[tool.fedops]
package = "myapp"

[tool.fedops.flow]
data = "myapp.data.load"
"""
CONFIG = """
[model]
_target_ = "myapp.nets.Net"
width = 4

[dataset]
name = "toy"
validation_split = 0.25

[wandb]
key = "my secret"
"""
NETS = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self, width, activation=None):
        super().__init__()
        self.first = nn.Linear(2, width)
        self.activation = activation or nn.ReLU()
        self.last = nn.Linear(width, 2)

    def forward(self, x):
        return self.last(self.activation(self.first(x)))
"""
DATA = """
import numpy as np

calls = []

def load(batch_size, seed):
    calls.append(batch_size)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 2)).astype(np.float32)
    return x, (x.sum(1) > 0).astype(np.int64)

def test_set():
    return load(1, 99)

def none_here(root=None):
    return None
"""


def configure(app: Path, text: str) -> None:
    file = app / "myapp" / "conf" / "config.toml"
    file.write_text(text + file.read_text())


def code(app: Path, text: str, file: str = "data.py") -> None:
    (app / "myapp" / file).write_text(text)


def said(error: type[FedOpsError], call: Any, *args: Any) -> str:
    with pytest.raises(error) as caught:
        call(*args)
    return str(caught.value)


def context(**changes: Any) -> TrainContext:
    values = {"round": 1, "seed": 7, "epochs": 1, "batch_size": 8, "learning_rate": 0.01}
    return TrainContext(**{**values, **changes})
