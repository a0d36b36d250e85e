"""The real training client with the default loop: interrupted, it ends with the bits of one that was not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from device_processes import Device, joined_device
from fake_manager import Work, eventually
from typer.testing import CliRunner

from fedops.cli.main import app
from fedops.config.loading import to_plain
from fedops.core.contracts.training import TrainingOrder
from fedops.scalize.flow.project import Project

EPOCHS, BATCHES = 5, 8
PYPROJECT = """
[project]
name = "slow"
version = "1.0.0"
[tool.fedops]
package = "slow"
config = "config.toml"
[tool.fedops.flow]
data = "slow.load_data"
model = "slow.Net"
[tool.flwr.app.components]
clientapp = "slow_client:app"
"""
CLIENT = """
from pathlib import Path
from flwr.clientapp import ClientApp
from fedops.flower.run_modes import answer
app = ClientApp()

@app.train()
def train(message, context):
    return answer(message, context, Path(__file__).parent)
"""
CODE = """
import time
from pathlib import Path
import numpy as np
import torch
from torch import nn

def load_data():
    x = np.random.default_rng(1).normal(size=(64, 4)).astype(np.float32)
    return x, (x.sum(axis=1) > 0).astype(np.int64)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    def forward(self, x):
        if self.training:
            with Path(__file__).with_name("batches").open("a") as file:
                file.write(".")
            time.sleep(0.03)
        return self.layers(x)
"""


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[Device]:
    with joined_device(tmp_path) as device:
        (device.app / "pyproject.toml").write_text(PYPROJECT)
        (device.app / "slow.py").write_text(CODE)
        (device.app / "slow_client.py").write_text(CLIENT)
        (device.app / "config.toml").write_text(
            f"num_epochs = {EPOCHS}\nbatch_size = 8\nlearning_rate = 0.01\n"
            '[model]\n_target_ = "slow.Net"\n[dataset]\nvalidation_split = 0.0\n'
        )
        yield device


@pytest.fixture
def device(joined: Device) -> Device:
    joined.start("training=real")
    joined.until("idle", 60)
    return joined


def ask(device: Device, key: str) -> Work:
    project = Project.open(device.app)
    adapter = project.make_adapter(42)
    order = TrainingOrder(1, 7, 1, "mnist", 42, to_plain(project.config), adapter.contract)
    return device.server.ask(7, 1, model=adapter.get_tensors(), work_key=key, values=order.values())


def trained(device: Device, work: Work) -> dict[str, bytes]:
    arrays = device.deliver(work, 60).payload.arrays["arrays"]
    return {name: array.tobytes() for name, array in arrays.items()}  # type: ignore[union-attr]


def batches(device: Device) -> int:
    path = device.app / "batches"
    return len(path.read_text()) if path.exists() else 0


def after(device: Device, count: int, begin: int) -> None:
    eventually(lambda: batches(device) - begin >= count, 30)


def test_interrupted_trainings_give_the_same_bits(device: Device) -> None:
    undisturbed = trained(device, ask(device, "first"))
    begin = batches(device)
    assert begin == EPOCHS * BATCHES

    work = ask(device, "killed")
    after(device, 2 * BATCHES + 3, begin)
    os.kill(device.child(), signal.SIGKILL)
    after(device, 4 * BATCHES, begin)
    os.kill(device.child(), signal.SIGKILL)
    assert trained(device, work) == undisturbed
    repeated = batches(device) - begin - EPOCHS * BATCHES
    assert 0 < repeated < 2 * BATCHES  # killed twice, less than an epoch each time

    begin = batches(device)
    work = ask(device, "paused")
    after(device, BATCHES + 3, begin)
    device.server.cancel(work, "the run was paused", checkpoint=True)
    eventually(lambda: not device.server.holds(work), 5.0)
    assert not device.server.events("training_client_ended")[2:]  # it was asked, not ended
    assert trained(device, ask(device, "paused")) == undisturbed
    assert batches(device) - begin == EPOCHS * BATCHES  # not one of them was repeated
    eventually(lambda: not list((device.home / "epochs").glob("*/*")))


def test_a_manager_that_ends_with_its_training_goes_on(device: Device) -> None:
    undisturbed = trained(device, ask(device, "first"))
    begin = batches(device)
    work = ask(device, "second")
    after(device, 2 * BATCHES + 2, begin)
    device.started[-1].process.terminate()
    device.started[-1].process.wait(15)
    time.sleep(0.2)
    device.start("training=real")
    assert trained(device, work) == undisturbed
    assert batches(device) - begin - EPOCHS * BATCHES < BATCHES


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_accelerator_that_is_not_there_is_the_cpu_and_everybody_hears_it(joined: Device) -> None:
    limits = '[limits]\naccelerator = "cuda:1"\naccelerator_memory_mb = 500\n'
    (joined.home / "device.toml").write_text(limits)
    with (joined.app / "slow.py").open("a") as file:
        file.write("import os\nprint('SEES', os.environ.get('CUDA_VISIBLE_DEVICES'))\n")
    joined.start("training=real")
    said = joined.until("idle", 60)
    problem = (
        "the CPU is used instead of the accelerator 'cuda:1': PyTorch sees no CUDA device; see 'accelerator' "
        "in [limits] of device.toml, or in [resources] of the config"
    )
    assert (said["accelerator"], said["accelerator_problem"]) == ("cpu", problem)
    assert trained(joined, ask(joined, "first"))
    eventually(lambda: joined.server.events("accelerator_replaced"))
    assert [event["text"] for event in joined.server.events("accelerator_replaced")] == [problem]
    printed = (joined.home / "logs" / "training-client.log").read_text()
    assert "SEES 1\n" in printed  # also for an app that picks its device itself
    assert problem in printed
    runner = CliRunner()
    shown = runner.invoke(app, ["client", "status", "--home", str(joined.home)]).output
    assert "trains on" in shown
    assert "'cuda:1': PyTorch sees no CUDA device" in " ".join(shown.split())


def test_a_device_with_validation_data_alone_evaluates(joined: Device) -> None:
    code = (joined.app / "slow.py").read_text()
    returned = "    return x, (x.sum(axis=1) > 0).astype(np.int64)"
    assert returned in code
    alone = returned.replace("return ", "return None, (") + ")"
    (joined.app / "slow.py").write_text(code.replace(returned, alone))
    joined.start("training=real")
    said = joined.until("idle", 60)
    eventually(lambda: joined.server.process.get("training_examples") is not None, 20, said)
    said = joined.server.process
    assert (said["training_examples"], said["validation_examples"]) == (0, 64)
    project = Project.open(joined.app)
    adapter = project.make_adapter(42)
    order = TrainingOrder(
        1, 7, 1, "mnist", 42, to_plain(project.config), adapter.contract, evaluate=True
    )
    work = joined.server.ask(7, 1, model=adapter.get_tensors(), values=order.values())
    payload = joined.deliver(work, 60).payload
    assert payload.arrays == {}
    assert payload.configs["reply"]["evaluates-only"] is True
    assert payload.metrics["eval-metrics"]["num-examples"] == 64
    assert "accuracy" in payload.metrics["eval-metrics"]
    assert batches(joined) == 0
    eventually(lambda: joined.server.events("evaluates_only"))
    assert len(joined.server.events("evaluates_only")) == 1
