"""A simulated federation that really trains: MNIST in unequal parts, devices of unequal speed, a clock.

Each device trains a small network on its own part, with numpy. How long that takes is not measured but
reckoned: the examples that it passes by the speed of its CPU, and the bytes of the model by its bandwidth.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedops.algorithms.partition import partition

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
#: Of the network: matrix and bias of the hidden layer, of the last layer.
Weights = tuple[Floats, Floats, Floats, Floats]

DEVICES, CLIENTS = 50, 6
PIXELS, HIDDEN, CLASSES = 784, 64, 10
EPOCHS, BATCH, RATE = 5, 32, 0.01
#: How unequal the parts are: Dirichlet over labels.
ALPHA = 0.3
#: Of the test images, so many judge updates; the others judge the global model.
VALIDATION = 500
#: CPU of a device in cores: normal, as in the FedOps paper (mean 1.4, deviation 0.822), no less than this.
CORES, CORES_SPREAD, LEAST_CORES = 1.4, 0.822, 0.2
#: Examples that one core passes forward and backward in a second; forward alone takes a third of it.
EXAMPLES_A_SECOND, FORWARD = 250.0, 1 / 3
#: Bytes a second in each direction: log-normal, with this median and this deviation of the logarithm.
BANDWIDTH, BANDWIDTH_SPREAD = 250_000.0, 1.0
#: How much the time of a device varies from round to round: deviation of the logarithm.
JITTER = 0.2
SERVER_CORES = 4.0
#: Of its own examples, a device's benchmark passes this share, and a batch at least.
CHUNK = 0.01
MODEL_BYTES = 4 * (PIXELS * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES)


@dataclass(frozen=True)
class Examples:
    images: Floats
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: Labels | slice) -> Examples:
        return Examples(self.images[which], self.labels[which])


@dataclass(frozen=True)
class Device:
    """One device: its part of the data, its speed, and whether its labels are wrong."""

    name: str
    examples: Examples
    cores: float
    bandwidth: float
    noisy: bool = False

    def training_seconds(self) -> float:
        return EPOCHS * len(self.examples) / (EXAMPLES_A_SECOND * self.cores)

    def round_seconds(self, rng: np.random.Generator) -> float:
        """Download, training, upload, as they go this time."""
        return (self.training_seconds() + 2 * MODEL_BYTES / self.bandwidth) * _varied(rng)

    def estimated_seconds(self, rng: np.random.Generator) -> float:
        """Of a round, by a benchmark that downloads the model and passes a chunk of the examples."""
        transfers = 2 * MODEL_BYTES / self.bandwidth
        return self.training_seconds() * _varied(rng) + transfers * _varied(rng)

    def bench_seconds(self) -> float:
        """How long that benchmark takes."""
        chunk = min(len(self.examples), max(BATCH, math.ceil(CHUNK * len(self.examples))))
        return MODEL_BYTES / self.bandwidth + chunk / (EXAMPLES_A_SECOND * self.cores)


def _varied(rng: np.random.Generator) -> float:
    return math.exp(rng.normal(0.0, JITTER))


@dataclass(frozen=True)
class World:
    devices: Sequence[Device]
    validation: Examples
    test: Examples

    @classmethod
    def made(cls, mnist: Mnist, seed: int, noisy_share: float) -> World:
        """Fifty devices. The same seed makes the same ones; with noise, a share of them has random labels."""
        rng = np.random.default_rng([seed, 50])
        parts = partition("dirichlet", mnist.train.labels, DEVICES, seed, alpha=ALPHA)
        noisy = set(rng.permutation(DEVICES)[: round(noisy_share * DEVICES)].tolist())
        devices = [
            Device(
                f"device-{i:02}",
                with_random_labels(mnist.train[part], rng) if i in noisy else mnist.train[part],
                _cores(rng),
                BANDWIDTH * math.exp(rng.normal(0.0, BANDWIDTH_SPREAD)),
                i in noisy,
            )
            for i, part in enumerate(parts)
        ]
        order = rng.permutation(len(mnist.test))
        judged = mnist.test[order[:VALIDATION]]
        return cls(devices, judged, mnist.test[order[VALIDATION:]])


def _cores(rng: np.random.Generator) -> float:
    while (drawn := rng.normal(CORES, CORES_SPREAD)) < LEAST_CORES:
        pass
    return float(drawn)


def with_random_labels(examples: Examples, rng: np.random.Generator) -> Examples:
    return Examples(examples.images, rng.integers(0, CLASSES, len(examples)))


# --- MNIST -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mnist:
    train: Examples
    test: Examples

    @classmethod
    def read(cls, folder: Path) -> Mnist:
        return cls(*(_read(folder, part) for part in ("train", "t10k")))


def _read(folder: Path, part: str) -> Examples:
    images = _idx(folder / f"{part}-images-idx3-ubyte", 16).reshape(-1, PIXELS)
    labels = _idx(folder / f"{part}-labels-idx1-ubyte", 8)
    scaled = ((images / 255.0 - 0.1307) / 0.3081).astype(np.float32)
    return Examples(scaled, labels.astype(np.int64))


def _idx(path: Path, header: int) -> npt.NDArray[np.uint8]:
    packed = path.with_name(f"{path.name}.gz")
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return np.frombuffer(data, np.uint8, offset=header)


# --- the network -------------------------------------------------------------------------------------


def first_weights(seed: int) -> Weights:
    rng = np.random.default_rng([seed, 1])

    def layer(rows: int, columns: int) -> Floats:
        return (rng.standard_normal((rows, columns)) * math.sqrt(2 / rows)).astype(np.float32)

    zeros = [np.zeros(size, np.float32) for size in (HIDDEN, CLASSES)]
    return layer(PIXELS, HIDDEN), zeros[0], layer(HIDDEN, CLASSES), zeros[1]


def _forward(weights: Weights, images: Floats) -> tuple[Floats, Floats]:
    """What the hidden layer says, and the logarithms of the probabilities of the classes."""
    hidden = np.maximum(images @ weights[0] + weights[1], 0)
    raw = hidden @ weights[2] + weights[3]
    raw -= raw.max(axis=1, keepdims=True)
    return hidden, raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))


def gradient(weights: Weights, examples: Examples) -> tuple[Weights, float]:
    """Of the mean loss, and the loss."""
    hidden, logs = _forward(weights, examples.images)
    rows = np.arange(len(examples))
    loss = float(-logs[rows, examples.labels].mean())
    error = np.exp(logs)
    error[rows, examples.labels] -= 1
    error /= len(examples)
    back = (error @ weights[2].T) * (hidden > 0)
    return (examples.images.T @ back, back.sum(0), hidden.T @ error, error.sum(0)), loss


def train(weights: Weights, examples: Examples, rng: np.random.Generator) -> tuple[Weights, float]:
    """The weights after some epochs of SGD, and the mean loss of the first of them."""
    now = tuple(part.copy() for part in weights)
    losses: list[float] = []
    for _ in range(EPOCHS):
        order = rng.permutation(len(examples))
        for start in range(0, len(order), BATCH):
            slopes, loss = gradient(now, examples[order[start : start + BATCH]])
            losses.append(loss)
            for part, slope in zip(now, slopes, strict=True):
                part -= np.float32(RATE) * slope
    return now, float(np.mean(losses[: max(1, len(losses) // EPOCHS)]))


def mean_of(updates: Sequence[Weights], examples: Sequence[int]) -> Weights:
    share = np.asarray(examples, np.float32) / np.float32(sum(examples))
    return tuple(
        np.tensordot(share, np.stack(parts), axes=1) for parts in zip(*updates, strict=True)
    )


def loss_of(weights: Weights, examples: Examples) -> float:
    _, logs = _forward(weights, examples.images)
    return float(-logs[np.arange(len(examples)), examples.labels].mean())


def accuracy_of(weights: Weights, examples: Examples) -> float:
    return float((_forward(weights, examples.images)[1].argmax(axis=1) == examples.labels).mean())
