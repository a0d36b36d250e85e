"""A federation on MNIST in one process: honest clients and others, trained in earnest, round after round."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fedops.algorithms.aggregation import weighted_mean
from fedops.algorithms.partition import partition
from fedops.demo.data import DataSource
from fedops.demo.run import find_app
from fedops.scalize.flow.project import Project

Tensors = dict[str, np.ndarray]
#: The share of labels that a client with wrong ones draws at random.
WRONG = 0.6
CLASSES = 10


def cnn() -> nn.Module:
    """The model of apps/mnist-xai."""
    sys.path.insert(0, str(find_app()))
    from fedopsmnist.models import MNISTClassifier

    return MNISTClassifier()


def mlp() -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, CLASSES))


@dataclass(frozen=True)
class Images:
    """MNIST: what clients share among them, and what the server judges by."""

    train: torch.Tensor
    labels: torch.Tensor
    validation: torch.Tensor
    validation_labels: torch.Tensor

    @classmethod
    def read(cls, source: DataSource, validation: int) -> Images:
        """All training images; the first test images."""
        project = Project.open(find_app(), [*source.overrides, "dataset.validation_split=0.0"])
        images, labels = project.load_data().train.tensors
        held = project.load_validation_data()
        assert held is not None, "the app has test images"
        test, test_labels = (tensor[:validation] for tensor in held[0].tensors)
        return cls(images, labels, test, test_labels)


@dataclass(frozen=True)
class Exercise:
    """Who takes part, and how they train."""

    model: Any
    clients: int
    #: What clients are, that are not honest: "copy" (of client 0), "wrong_labels", "null", "replay",
    #: "noise", "flipped".
    roles: Mapping[int, str]
    alpha: float
    seed: int
    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 0.001


@dataclass(frozen=True)
class Played:
    """One round: the model before it, and what each client made of it."""

    number: int
    before: Tensors
    updates: list[Tensors]
    weights: list[int]
    previous_change: Tensors | None
    after: Tensors


@dataclass
class Federation:
    """Plays the rounds of an exercise."""

    exercise: Exercise
    images: Images
    model: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.exercise.seed)
        self.model = self.exercise.model()
        self._rng = np.random.default_rng(self.exercise.seed)
        self._parts = self._shared_out()
        self._labels = [self._labels_of(i) for i in range(self.exercise.clients)]

    def rounds(self, count: int) -> Iterator[Played]:
        """One after the other."""
        before, change = self.tensors(), None
        weights = [len(part) for part in self._parts]
        for number in range(1, count + 1):
            updates = [
                self._update(i, number, before, change) for i in range(self.exercise.clients)
            ]
            after = weighted_mean(updates, weights, before)
            yield Played(number, before, updates, weights, change, after)
            change = {name: after[name] - before[name] for name in before}
            before = after

    def tensors(self) -> Tensors:
        """The model's, as they are now."""
        return {name: t.detach().numpy().copy() for name, t in self.model.state_dict().items()}

    def load(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Put these into the model."""
        self.model.load_state_dict({name: torch.from_numpy(a) for name, a in tensors.items()})

    def gradients(self, tensors: Tensors) -> list[Tensors]:
        """Of the validation loss at this model, then of each class."""
        self.load(tensors)
        self.model.eval()
        labels = self.images.validation_labels
        chosen = [torch.ones_like(labels, dtype=torch.bool), *(labels == c for c in range(CLASSES))]
        return [self._gradient(which) for which in chosen]

    def _gradient(self, which: torch.Tensor) -> Tensors:
        self.model.zero_grad()
        outputs = self.model(self.images.validation[which])
        functional.cross_entropy(outputs, self.images.validation_labels[which]).backward()
        return {
            name: parameter.grad.numpy().copy() for name, parameter in self.model.named_parameters()
        }

    def _shared_out(self) -> list[np.ndarray]:
        """Every client's examples; a copy has those of client 0."""
        roles, labels = self.exercise.roles, self.images.labels.numpy()
        copies = [i for i, role in roles.items() if role == "copy"]
        count = self.exercise.clients - len(copies)
        parts = list(
            partition("dirichlet", labels, count, self.exercise.seed, alpha=self.exercise.alpha)
        )
        for i in sorted(copies):
            parts.insert(i, parts[0])
        return parts

    def _labels_of(self, i: int) -> torch.Tensor:
        labels = self.images.labels[self._parts[i]].clone()
        if self.exercise.roles.get(i) == "wrong_labels":
            wrong = torch.from_numpy(self._rng.random(len(labels)) < WRONG)
            labels[wrong] = torch.from_numpy(self._rng.integers(0, CLASSES, int(wrong.sum())))
        return labels

    def _update(self, i: int, number: int, before: Tensors, change: Tensors | None) -> Tensors:
        role = self.exercise.roles.get(i)
        if role == "null" or (role == "replay" and change is None):
            return {name: array.copy() for name, array in before.items()}
        if role == "replay":
            return {name: array + change[name] for name, array in before.items()}
        if role == "noise":
            return {
                name: array + self._rng.normal(scale=0.02, size=array.shape).astype(array.dtype)
                for name, array in before.items()
            }
        trained = self._trained(0 if role == "copy" else i, number, before)
        if role == "flipped":
            return {name: 2 * array - trained[name] for name, array in before.items()}
        return trained

    def _trained(self, i: int, number: int, before: Tensors) -> Tensors:
        self.load(before)
        self.model.train()
        images, labels = self.images.train[self._parts[i]], self._labels[i]
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.exercise.learning_rate)
        seed = 100_003 * self.exercise.seed + 101 * number + i
        order = torch.Generator().manual_seed(seed)
        for _ in range(self.exercise.epochs):
            for batch in torch.randperm(len(labels), generator=order).split(
                self.exercise.batch_size
            ):
                optimizer.zero_grad()
                functional.cross_entropy(self.model(images[batch]), labels[batch]).backward()
                optimizer.step()
        return self.tensors()


def bad_clients(roles: Mapping[int, str]) -> Sequence[int]:
    """Who is not honest."""
    return [i for i, role in roles.items() if role != "copy"]
