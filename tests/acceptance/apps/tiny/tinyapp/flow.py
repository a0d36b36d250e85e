"""Two blobs of points and a small model. ``TINY_FAULT`` makes this device's training go wrong."""

import os
import time

import torch
from torch import nn

from fedops.scalize.base import TrainResult

FAULT = os.environ.get("TINY_FAULT", "")


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
    return torch.utils.data.TensorDataset(points, labels)


def train(model, train_loader, epochs, learning_rate, should_stop, seconds=0.0):
    """Plain SGD, then ``seconds`` of pretended work."""
    model.train()
    for _ in range(epochs):
        for points, labels in train_loader:
            loss = nn.functional.cross_entropy(model(points), labels)
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= learning_rate * parameter.grad
    until = time.monotonic() + seconds
    while time.monotonic() < until and not should_stop():
        time.sleep(0.02)
    return _spoiled(model, TrainResult(120, {"loss": float(loss.detach())}))


def _spoiled(model, result):
    if FAULT == "nan":
        model.out.bias.data[0] = float("nan")
    if FAULT == "shape":
        model.out.bias.data = torch.zeros(3)
    if FAULT in ("zero", "negative"):
        return TrainResult({"zero": 0, "negative": -5}[FAULT], result.metrics)
    return result


def evaluate(model, loader):
    """Mean loss and accuracy."""
    model.eval()
    loss = right = count = 0
    with torch.no_grad():
        for points, labels in loader:
            scores = model(points)
            loss += float(nn.functional.cross_entropy(scores, labels, reduction="sum"))
            right += int((scores.argmax(1) == labels).sum())
            count += len(labels)
    return {"loss": loss / count, "accuracy": right / count}
