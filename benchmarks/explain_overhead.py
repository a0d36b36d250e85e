"""What explanations cost a client: each method on 16 samples, and the defaults beside local training.

MNIST from FEDOPS_MNIST_DIR, else scikit-learn's digits enlarged to 28 x 28. One torch thread.
"""

from __future__ import annotations

import copy
import gzip
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import median, options, report, say
from torch import Tensor, nn
from torch.nn import functional as F

from fedops.explain.explainers.options import Options
from fedops.explain.methods.base import Job
from fedops.explain.methods.registry import BUILT_IN, make
from fedops.explain.service.explainer import Explainer

SAMPLES = 16
PROMISED_SHARE = 0.05


class Cnn(nn.Module):
    """The client app's model: two convolutions, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def load() -> tuple[str, Tensor, Tensor]:
    """The name of the data, pictures and labels."""
    folder = os.environ.get("FEDOPS_MNIST_DIR")
    if folder:
        images = gzip.decompress((Path(folder) / "train-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((Path(folder) / "train-labels-idx1-ubyte.gz").read_bytes())
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:8_000]
        answers = np.frombuffer(labels, np.uint8, offset=8)[:8_000]
        scaled = (pixels.astype(np.float32) / 255 - 0.1307) / 0.3081
        return "MNIST", torch.from_numpy(scaled), torch.from_numpy(answers.astype(np.int64))
    from sklearn.datasets import load_digits

    data = load_digits()
    small = torch.from_numpy(data.images).float()[:, None] / 16
    large = F.interpolate(small, size=28, mode="bilinear", align_corners=False)
    return "digits", large, torch.from_numpy(data.target).long()


def train(model: nn.Module, inputs: Tensor, labels: Tensor, seed: int) -> None:
    """One epoch, as a client does in a round."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for rows in torch.randperm(len(inputs), generator=generator).split(32):
        loss = F.cross_entropy(model(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def method_seconds(name: str, model: Cnn, inputs: Tensor, labels: Tensor, repeats: int) -> float:
    """The median time for maps of 16 samples."""
    method, taken = make(name), []
    absent = inputs.amin((0, 2, 3), keepdim=True)
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        for start in range(0, SAMPLES, method.group):
            part = slice(start, min(start + method.group, SAMPLES))
            method.explain(Job(model, inputs[part], labels[part], absent, model.conv2))
        taken.append(time.perf_counter() - begin)
    return median(taken[1:]) or 0.0


class Stopwatch:
    """Wall time, processor time and a clock of the rounds of one kind only."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self._since: float | None = None

    def __call__(self) -> float:
        return self.wall + (time.perf_counter() - self._since if self._since else 0.0)

    @contextmanager
    def running(self) -> Iterator[None]:
        cpu, self._since = time.process_time(), time.perf_counter()
        yield
        self.wall, self._since = self(), None
        self.cpu += time.process_time() - cpu


def defaults_beside_training(
    place: Path, count: int, inputs: Tensor, labels: Tensor
) -> dict[str, Any]:
    """A client's rounds without and with explanations, in turn, so that both meet the same machine."""
    cut = int(0.8 * len(inputs))
    plain, explained = Stopwatch(), Stopwatch()
    explainer = Explainer.open(
        Cnn(), Options(), (inputs[cut:], labels[cut:]), folder=place, clock=explained
    )
    shared, reports = Cnn(), []
    train(copy.deepcopy(shared), inputs[:cut], labels[:cut], 0)
    for number in range(1, count + 1):
        model = copy.deepcopy(shared)
        with plain.running():
            train(copy.deepcopy(shared), inputs[:cut], labels[:cut], number)
        with explained.running():
            train(model, inputs[:cut], labels[:cut], number)
            reports.append(explainer.attempt(shared, model, number))
        shared = model
    good = [one for one in reports if one.failure is None]
    return {
        "examples": cut,
        "rounds": count,
        "round_seconds": plain.wall / count,
        "round_cpu_seconds": plain.cpu / count,
        "round_cpu_seconds_with_xai": explained.cpu / count,
        "explained_rounds": len(good),
        "complete_rounds": sum(1 for one in good if one.files),
        "explain_seconds": sum(one.seconds["total"] for one in good) / count,
        "share": sum(one.seconds["total"] for one in good) / plain.wall,
        "share_of_processor_time": explained.cpu / plain.cpu - 1.0,
    }


def main() -> None:
    """Exit code 1 when the defaults take more than the share that is promised."""
    chosen = options(__doc__ or "").parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data, inputs, labels = load()
    model = Cnn()
    say(f"training on {len(inputs)} {data} pictures ...")
    train(model, inputs, labels, 0)
    model.eval()
    rows = []
    for name in BUILT_IN:
        say(f"{name} ...")
        seconds = method_seconds(name, model, inputs, labels, 1 if chosen.quick else 5)
        rows.append(
            {"method": name, "seconds": seconds, "milliseconds_a_sample": seconds / SAMPLES * 1e3}
        )
    say("the defaults beside training ...")
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        beside = defaults_beside_training(Path(place), 4 if chosen.quick else 12, inputs, labels)
    result = {
        "benchmark": "explain_overhead",
        "what": f"maps of {SAMPLES} samples, {data}, two-convolution CNN, one thread",
        "rows": rows,
        "defaults": beside,
        "ok": chosen.quick or beside["share_of_processor_time"] <= PROMISED_SHARE,
        "notes": [
            f"The defaults beside rounds of {beside['round_seconds']:.2f} s ({beside['examples']} examples): "
            f"{beside['share_of_processor_time']:.1%} more processor time (promised: at most "
            f"{PROMISED_SHARE:.0%}), {beside['share']:.1%} of the time on the wall; "
            f"{beside['explained_rounds']} of {beside['rounds']} rounds explained, "
            f"{beside['complete_rounds']} of them with all pictures and scores."
        ],
    }
    report(result, chosen.json, ("Method", "Seconds", "Milliseconds a sample"))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
