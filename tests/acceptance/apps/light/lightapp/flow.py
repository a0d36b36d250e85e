"""Two blobs of points and a small model, as those of ``tiny``, of a framework that is imported in no time.

``TINY_FAULT`` makes this device's training go wrong, ``TINY_SLOWER`` take so many times as long.
"""

import os
import time

import numpy as np
from lightnn import Network, cross_entropy, softmax

from fedops.scalize.adapter.protocol import TrainResult

FAULT = os.environ.get("TINY_FAULT", "")
SLOWER = float(os.environ.get("TINY_SLOWER", "1"))
_failed = set()


class Model(Network):
    """A hidden layer of eight, and nine on a device whose code is not the others'."""

    def __init__(self) -> None:
        super().__init__(9 if FAULT == "model" else 8)


def load_data(partition_index=0):
    """160 points of this device's own, and their labels."""
    generator = np.random.default_rng(1000 + (partition_index or 0))
    labels = np.arange(160) % 2
    points = generator.normal(size=(160, 2)) * 0.5 + (labels * 2 - 1)[:, None]
    return points.astype(np.float32), labels


def train(
    model, train_data, epochs, batch_size, learning_rate, should_stop, seed, round, seconds=0.0
):
    """Plain SGD, then ``seconds`` of pretended work."""
    if FAULT == "raise" or (FAULT == "once" and (seed, round) not in _failed):
        _failed.add((seed, round))
        raise RuntimeError("the disk of this device is on fire")
    points, labels = train_data
    for _ in range(epochs):
        order = np.random.permutation(len(labels))
        for batch in np.split(order, range(batch_size, len(labels), batch_size)):
            loss = model.step(points[batch], labels[batch], learning_rate)
    until = time.monotonic() + seconds * SLOWER
    while time.monotonic() < until and not should_stop():
        time.sleep(0.02)
    return _spoiled(model, TrainResult(len(labels), {"loss": loss}))


def _spoiled(model, result):
    if FAULT == "nan":
        model.arrays["out.bias"][0] = float("nan")
    if FAULT == "shape":
        model.arrays["out.bias"] = np.zeros(3, np.float32)
    if FAULT == "flip":
        for name in ("out.weight", "out.bias"):
            model.arrays[name] = model.arrays[name] * np.float32(-20)
    if FAULT in ("zero", "negative"):
        return TrainResult({"zero": 0, "negative": -5}[FAULT], result.metrics)
    return result


def evaluate(model, data):
    """Mean loss and accuracy."""
    points, labels = data
    chances = softmax(model.scores(points))
    accuracy = float((chances.argmax(1) == labels).mean())
    return {"loss": cross_entropy(chances, labels), "accuracy": accuracy}
