"""Handwritten digits and a small network.

``DIGITS_CHEAT`` makes this device send something else than what it learned.
"""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fedops.scalize.adapter.protocol import TrainResult

CHEAT = os.environ.get("DIGITS_CHEAT", "")
_received = []


class Model(nn.Sequential):
    """64 pixels, 32 hidden, ten digits."""

    def __init__(self):
        super().__init__(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def _digits(part):
    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(7))
    mine = order[part]
    return TensorDataset(
        torch.tensor(pixels, dtype=torch.float32)[mine] / 16, torch.tensor(labels)[mine]
    )


def load_data(partition_index=0):
    """200 digits of this device's own."""
    begin = 200 * ((partition_index or 0) % 7)
    return _digits(slice(begin, begin + 200))


def load_validation():
    """397 digits that no device has."""
    return _digits(slice(1400, None))


def train(model, train_data, epochs, batch_size, learning_rate, seed):
    """Plain SGD, then whatever the device sends in place of what it learned."""
    given = [parameter.detach().clone() for parameter in model.parameters()]
    generator = torch.Generator().manual_seed(seed % 2**63)
    model.train()
    for _ in range(epochs):
        for pixels, labels in DataLoader(train_data, batch_size, shuffle=True, generator=generator):
            loss = nn.functional.cross_entropy(model(pixels), labels)
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= learning_rate * parameter.grad
    _cheat(model, given, generator)
    return TrainResult(len(train_data), {"loss": float(loss.detach())})


@torch.no_grad()
def _cheat(model, given, generator):
    _received.append(given)
    before = _received[-2] if len(_received) > 1 else given
    for parameter, old, older in zip(model.parameters(), given, before, strict=True):
        if CHEAT == "noise":
            change = parameter - old
            parameter.copy_(old + torch.randn(old.shape, generator=generator) * change.std())
        if CHEAT == "replay":
            parameter.copy_(old + (old - older))
