"""A planted shortcut: from one round on, one device's labels depend on a bright patch in a corner.

The drift series of that device must jump within two rounds and its maps must show the corner, while the
other devices stay calm.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from fedops.explain.explainers.options import Options
from fedops.explain.explainers.report import ExplainReport
from fedops.explain.quality.history import Snapshot
from fedops.explain.service.explainer import Explainer

DEVICES, PLANTED, ROUNDS = 3, 5, 6
CORNER = slice(22, 27)


class Cnn(nn.Module):
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


@dataclass
class Device:
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    reports: list[ExplainReport]


def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    small = torch.from_numpy(data.images).float()[:, None] / 16
    order = np.random.default_rng(0).permutation(len(small))
    large = F.interpolate(small, size=28, mode="bilinear", align_corners=False)
    return large[order], torch.from_numpy(data.target).long()[order]


def planted(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every second picture gets the patch and is called 0."""
    inputs, labels = inputs.clone(), labels.clone()
    inputs[::2, :, CORNER, CORNER] = 1
    labels[::2] = 0
    return inputs, labels


def fit(model: nn.Module, data: tuple[Tensor, Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    model.train()
    for _ in range(3):
        for rows in torch.randperm(len(data[0]), generator=generator).split(16):
            loss = F.cross_entropy(model(data[0][rows]), data[1][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Device]]:
    """A federation of three devices, each explaining every round."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    inputs, labels = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shared = Cnn()
    parts = [torch.arange(number, len(inputs), DEVICES) for number in range(DEVICES)]
    found = [
        Device((inputs[p[:450]], labels[p[:450]]), (inputs[p[450:]], labels[p[450:]]), [])
        for p in parts
    ]
    # the pictures with the patch are there from the start; the labels come to depend on it later
    found[0].test = planted(*found[0].test)
    base = tmp_path_factory.mktemp("devices")
    explainers = [
        Explainer.open(shared, Options(samples=16), one.test, folder=base / str(number))
        for number, one in enumerate(found)
    ]
    for round_ in range(1, ROUNDS + 1):
        locals_ = []
        for number, one in enumerate(found):
            model = copy.deepcopy(shared)
            bad = number == 0 and round_ >= PLANTED
            fit(model, planted(*one.train) if bad else one.train, round_ * 10 + number)
            one.reports.append(explainers[number].run(shared, model, round_))
            locals_.append(model.state_dict())
        mean = {n: torch.stack([s[n] for s in locals_]).mean(0) for n in locals_[0]}
        shared.load_state_dict(mean)
    yield found
    torch.set_num_threads(threads)


def test_the_planted_device_raises_an_alarm_within_two_rounds(devices: list[Device]) -> None:
    alarms = [report.round for report in devices[0].reports if report.alarms]
    assert alarms
    assert min(alarms) in (PLANTED, PLANTED + 1)
    text = devices[0].reports[min(alarms) - 1].alarms[0]
    assert "looks elsewhere" in text


def test_the_others_stay_calm(devices: list[Device]) -> None:
    assert [report.round for one in devices[1:] for report in one.reports if report.alarms] == []


def test_the_series_shows_it(devices: list[Device]) -> None:
    path = devices[0].reports[0].folder.parent / "drift.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    series = [
        row["worst"]
        for row in rows
        if row["series"] == "local to global" and row["method"] == "layercam"
    ]
    assert series[PLANTED - 1] > 2 * np.median(series[1 : PLANTED - 1])


def test_the_maps_show_the_corner(devices: list[Device]) -> None:
    def corner(report: ExplainReport) -> float:
        """The share of the heat for class 0 that lies in the corner, in pictures with the patch."""
        snapshot = Snapshot.load(Path(report.folder) / "maps.npz")
        assert snapshot is not None
        patched = (devices[0].test[0][list(snapshot.indices), 0, CORNER, CORNER] == 1).all((1, 2))
        heat = snapshot.maps["local", "layercam", "true"].values[patched.numpy()]
        assert len(heat) > 0
        return float((heat[:, 10:, 10:].sum((1, 2)) / heat.sum((1, 2))).mean())

    before, after = (corner(devices[0].reports[number - 1]) for number in (PLANTED - 1, PLANTED))
    assert after > 2 * before
    assert after > 16 / 196
