"""Two blobs of points and a small model.

``TINY_FAULT`` makes this device's training go wrong, ``TINY_SLOWER`` take so many times as long.
"""

import os
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fedops.scalize.adapter.protocol import TrainResult

FAULT = os.environ.get("TINY_FAULT", "")
SLOWER = float(os.environ.get("TINY_SLOWER", "1"))
_failed = set()


class Model(nn.Module):
    """A hidden layer of eight, and nine on a device whose code is not the others'."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, 9 if FAULT == "model" else 8)
        self.out = nn.Linear(9 if FAULT == "model" else 8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.hidden(x)))


def load_data(partition_index=0):
    """160 points of this device's own."""
    generator = torch.Generator().manual_seed(1000 + (partition_index or 0))
    labels = torch.arange(160) % 2
    points = torch.randn(160, 2, generator=generator) * 0.5 + (labels * 2 - 1)[:, None]
    return TensorDataset(points, labels)


def train(
    model, train_data, epochs, batch_size, learning_rate, should_stop, seed, round, seconds=0.0
):
    """Plain SGD, then ``seconds`` of pretended work."""
    if FAULT == "raise" or (FAULT == "once" and (seed, round) not in _failed):
        _failed.add((seed, round))
        raise RuntimeError("the disk of this device is on fire")
    model.train()
    for _ in range(epochs):
        for points, labels in DataLoader(train_data, batch_size=batch_size, shuffle=True):
            loss = nn.functional.cross_entropy(model(points), labels)
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= learning_rate * parameter.grad
    until = time.monotonic() + seconds * SLOWER
    while time.monotonic() < until and not should_stop():
        time.sleep(0.02)
    return _spoiled(model, TrainResult(len(train_data), {"loss": float(loss.detach())}))


def _spoiled(model, result):
    if FAULT == "nan":
        model.out.bias.data[0] = float("nan")
    if FAULT == "shape":
        model.out.bias.data = torch.zeros(3)
    if FAULT == "flip":
        with torch.no_grad():
            for parameter in model.out.parameters():
                parameter *= -20
    if FAULT in ("zero", "negative"):
        return TrainResult({"zero": 0, "negative": -5}[FAULT], result.metrics)
    return result


@torch.no_grad()
def evaluate(model, data):
    """Mean loss and accuracy."""
    model.eval()
    points, labels = next(iter(DataLoader(data, batch_size=len(data))))
    scores = model(points)
    return {
        "loss": float(nn.functional.cross_entropy(scores, labels)),
        "accuracy": float((scores.argmax(1) == labels).float().mean()),
    }
