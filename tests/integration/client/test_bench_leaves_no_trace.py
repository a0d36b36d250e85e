"""The round after a benchmark is, bit for bit, what it would have been without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from device_processes import Device, eventually, joined_device

from fedops.config.loading import to_plain
from fedops.config.schema import Exchange
from fedops.core.contracts import BENCH
from fedops.core.states import ReadinessStatus
from fedops.scalize.adapter.parameter_exchange import TensorInfo, build_contract
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import Tensors

PYPROJECT = """
[project]
name = "dice"
version = "1.0.0"
[tool.fedops]
package = "dice"
config = "config.toml"
[tool.fedops.flow]
data = "dice.flow.load_data"
"""
CONFIG = """
model_type = "Pytorch"
batch_size = 8
[model]
_target_ = "dice.flow.Net"
[dataset]
name = "dice"
validation_split = 0.0
"""
#: Draws from a generator of its own, from torch's, from numpy's and from a counter, wherever it can.
FLOW = """
import itertools
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

OWN = torch.Generator().manual_seed(3)
DRAWN = itertools.count()

class Noisy(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        noise = torch.randn(4, generator=OWN) + float(np.random.normal()) + next(DRAWN) / 100
        return noise, index % 2

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))

def load_data():
    return DataLoader(Noisy(), batch_size=8, shuffle=True)
"""
SHAPES = {"0.weight": (8, 4), "0.bias": (8,), "3.weight": (2, 8), "3.bias": (2,)}
MODEL: Tensors = {name: np.full(shape, 0.1, np.float32) for name, shape in SHAPES.items()}
CONTRACT = build_contract(
    [TensorInfo(name, shape, "float32") for name, shape in SHAPES.items()], Exchange()
)


def write_app(folder: Path) -> dict[str, Any]:
    """The app's files; its config as a server sends it."""
    (folder / "dice").mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "config.toml").write_text(CONFIG)
    (folder / "dice" / "__init__.py").write_text("")
    (folder / "dice" / "flow.py").write_text(FLOW)
    return to_plain(Project.open(folder).config)


def trained(device: Device, round_: int, config: dict[str, Any]) -> Tensors:
    """The update of a round."""
    order = {
        "config-json": json.dumps(config),
        "run-seed": 5,
        "contract-json": CONTRACT.model_dump_json(),
        "dataset": "dice",
        "evaluate": False,
        "retry": 0,
    }
    work = device.deliver(device.server.ask(7, round_, model=MODEL, values=order), seconds=60.0)
    return {name: np.asarray(array) for name, array in work.payload.arrays["arrays"].items()}


def is_ready(device: Device) -> bool:
    said = device.server.process.get("readiness", [])
    return [one["status"] for one in said] == [ReadinessStatus.READY]


def two_rounds(folder: Path, benched: bool) -> list[Tensors]:
    folder.mkdir()
    with joined_device(folder) as device:
        config = write_app(device.app)
        device.start("training=real")
        eventually(lambda: is_ready(device), 60.0, "not ready")  # a batch was tried
        updates = [trained(device, 1, config)]
        if benched:
            work = device.deliver(device.server.bench(MODEL, config), seconds=60.0)
            assert work.payload.metrics[BENCH]["examples"] == 64
        return [*updates, trained(device, 2, config)]


def test_the_round_after_a_benchmark_is_what_it_would_have_been(tmp_path: Path) -> None:
    plain, benched = (
        two_rounds(tmp_path / name, name == "benched") for name in ("plain", "benched")
    )
    assert not np.array_equal(plain[0]["0.weight"], plain[1]["0.weight"]), "rounds do differ"
    for mine, theirs in zip(plain, benched, strict=True):
        assert {n: a.tobytes() for n, a in mine.items()} == {
            n: a.tobytes() for n, a in theirs.items()
        }
