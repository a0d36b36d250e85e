"""The MNIST model, and how it is trained and evaluated: ordinary PyTorch, nothing federated."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class MNISTClassifier(nn.Module):
    """Two convolutions and two linear layers; 105,866 parameters for ten classes."""

    def __init__(self, output_size: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(32 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, output_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def train(
    model: nn.Module,
    train_data: Dataset,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    device: torch.device,
    seed: int,
) -> dict[str, float]:
    """Train in place; the numbers returned are those of the last epoch."""
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(train_data, batch_size=batch_size, shuffle=True, generator=order)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    model.train()
    for _ in range(epochs):
        total, correct = 0.0, 0
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            outputs = model(images)
            loss = F.cross_entropy(outputs, labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            correct += int((outputs.argmax(1) == labels).sum())
    return {"loss": total / len(train_data), "accuracy": correct / len(train_data)}


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Dataset, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Mean loss and accuracy."""
    model.eval()
    total, correct = 0.0, 0
    for images, labels in DataLoader(data, batch_size=batch_size):
        images, labels = images.to(device), labels.to(device)
        outputs = model(images)
        total += F.cross_entropy(outputs, labels, reduction="sum").item()
        correct += int((outputs.argmax(1) == labels).sum())
    return {"loss": total / len(data), "accuracy": correct / len(data)}
