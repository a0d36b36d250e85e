"""A benchmark on a device: measured by a process of its own, over cuts and restarts, and without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from device_processes import Device
from fake_manager import FakeServer, Work, eventually

from fedops.client.telemetry.system_metrics import MIB, memory_of
from fedops.core.contracts import BENCH, BenchMeasured
from fedops.storage.tensors import pack

PYPROJECT = """
[project]
name = "steps"
version = "1.0.0"
[tool.fedops]
package = "steps"
config = "config.toml"
"""
FLOW = PYPROJECT + '[tool.fedops.flow]\ndata = "steps.flow.load_data"\ntrain = "steps.flow.train"\n'
#: 800 examples of a model that is one array; a second to load while there is a file ``hold``.
CODE = """
import time
from pathlib import Path
import numpy as np
from sklearn.linear_model import SGDClassifier

HOLD = Path(__file__).with_name("hold")

def model():
    return SGDClassifier()

def load_data():
    HOLD.with_name("loads").open("a").write("x")
    while HOLD.exists():
        time.sleep(0.02)
    x = np.random.default_rng(1).normal(size=(800, 3))
    return x, (x.sum(axis=1) > 0).astype(int)

def train(model, train_data, epochs):
    x, y = train_data
    time.sleep(epochs * 0.005 * len(y))
    model.partial_fit(x, y, classes=[0, 1])
    return model
"""
CONFIG = {
    "random_seed": 1,
    "num_epochs": 2,
    "batch_size": 20,
    "model_type": "sklearn",
    "model": {"_target_": "steps.flow.model"},
    "dataset": {"features": 3, "classes": [0, 1], "validation_split": 0.0},
}
#: An example takes so long, over both epochs.
SECONDS = 0.01
CONFIG_TOML = """
num_epochs = 1
batch_size = 32
model_type = "sklearn"
[model]
_target_ = "steps.flow.model"
[dataset]
features = 3
classes = [0, 1]
"""


def ready(device: Device, pyproject: str = FLOW) -> FakeServer:
    (device.app / "pyproject.toml").write_text(pyproject)
    (device.app / "config.toml").write_text(CONFIG_TOML)
    package = device.app / "steps"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "flow.py").write_text(CODE)
    device.start()
    device.until("idle")
    return device.server


def hold(device: Device) -> Path:
    """Loading the data waits as long as this file is there."""
    file = device.app / "steps" / "hold"
    file.touch()
    return file


def measured(work: Work) -> BenchMeasured:
    return BenchMeasured.from_values(dict(work.payload.metrics[BENCH]))


def benchers(device: Device) -> list[psutil.Process]:
    """The processes that measure."""
    return [
        child
        for child in psutil.Process(device.started[-1].process.pid).children(recursive=True)
        if any("bench_process" in word for word in child.cmdline())
    ]


def test_a_chunk_is_timed_over_all_epochs_of_the_tasks_config(device: Device) -> None:
    server = ready(device)
    before = files(device)
    model = {"w": np.ones(1_000, np.float32)}
    found = measured(device.deliver(server.bench(model, CONFIG)))
    assert (found.examples, found.epochs) == (800, 2)
    assert found.first_examples == 20
    assert found.chunk_examples >= 80, "four batches"
    assert found.first_seconds >= 20 * SECONDS
    assert found.chunk_seconds >= found.chunk_examples * SECONDS
    assert found.model_bytes == len(pack(model))
    assert found.download_seconds is not None
    assert 0 < found.download_seconds < 5
    assert device.trainings() == 0, "the training client itself trained nothing"
    eventually(lambda: files(device) == before, what=lambda: files(device) ^ before)
    assert "training" in server.stages()
    assert server.process.get("refusal") is None


@pytest.mark.parametrize("gone", [False, True], ids=["no version", "its file is gone"])
def test_without_a_version_there_is_no_transfer(device: Device, gone: bool) -> None:
    model = {"w": np.ones(9, np.float32)} if gone else None
    found = measured(device.deliver(ready(device).bench(model, CONFIG, there=not gone)))
    assert (found.model_bytes, found.download_seconds) == (None, None)


def test_a_download_that_is_cut_is_timed_anew(device: Device) -> None:
    server = ready(device)
    server.cut_downloads = [10_000, 200_000]
    server.slow = 0.5 / 400_000
    model = {"w": np.random.default_rng(1).normal(size=100_000).astype(np.float32)}
    found = measured(device.deliver(server.bench(model, CONFIG)))
    assert server.calls["blob"] == 3
    assert found.model_bytes == len(pack(model))
    assert (found.download_seconds or 0.0) > 0.4, "all of it in one go"


def test_a_device_that_cannot_says_why_and_stays_ready(device: Device) -> None:
    server = ready(device)
    work = server.bench(None, {**CONFIG, "dataset_root": "nowhere"})
    eventually(lambda: work.end)
    assert work.end is not None
    assert work.end["outcome"] == "refused"
    assert "dataset_root" in work.end["reason"]
    device.until("idle")
    assert server.process.get("refusal") is None, "that says nothing of rounds"
    device.deliver(server.ask(7, 1))


def test_the_owners_limits_hold(device: Device) -> None:
    (device.home / "device.toml").write_text("[limits]\nmax_epochs = 1\nmax_batch_size = 10\n")
    found = measured(device.deliver(ready(device).bench(None, CONFIG)))
    assert (found.epochs, found.first_examples) == (1, 10)


def test_a_device_without_memory_for_two_keeps_its_training_client(device: Device) -> None:
    server = ready(device)
    used = memory_of(device.child())
    assert used is not None
    device.started[-1].process.terminate()
    device.started[-1].process.wait()
    limit = used * 3 // 2 // MIB
    (device.home / "device.toml").write_text(f"[limits]\nmemory_mb = {limit}\n")
    device.start()
    device.until("idle")
    work = server.bench(None, CONFIG)
    eventually(lambda: work.end)
    assert work.end is not None
    assert work.end["reason"].startswith("a benchmark loads the app a second time")
    assert work.end["reason"].endswith(f"memory_mb in device.toml allows {limit}")
    assert server.process["restarts"] == 0


def test_what_is_logged_of_a_benchmark_is_of_no_run(device: Device) -> None:
    server = ready(device)
    server.bump(runs=[7])
    device.deliver(server.bench(None, CONFIG))

    def lines() -> list[dict[str, Any]]:
        return [r for r in list(server.records.values()) if "benchmark: " in (r.get("text") or "")]

    (line,) = eventually(lines)
    assert line["run_id"] is None


def test_an_app_whose_client_app_loads_its_own_data_cannot_be_timed(device: Device) -> None:
    work = ready(device, PYPROJECT).bench(None, CONFIG)
    eventually(lambda: work.end)
    assert work.end is not None
    assert work.end["reason"].startswith("the app's ClientApp loads model and data by itself")


@pytest.mark.long
@pytest.mark.parametrize("whose", ["Client Manager", "training client"])
def test_who_is_killed_in_the_middle_begins_anew(device: Device, whose: str) -> None:
    server = ready(device)
    held = hold(device)
    work = server.bench(None, CONFIG)
    (bencher,) = eventually(lambda: benchers(device))
    if whose == "Client Manager":
        device.started[-1].process.kill()
        device.started[-1].process.wait()
    else:
        psutil.Process(device.child()).kill()
    eventually(lambda: not bencher.is_running() or bencher.status() == psutil.STATUS_ZOMBIE)
    held.unlink()
    if whose == "Client Manager":
        device.start()
    assert measured(device.deliver(work)).examples == 800
    assert server.calls["instruction"] == 1


def test_one_that_is_cancelled_ends_at_once(device: Device) -> None:
    server = ready(device)
    held = hold(device)
    work = server.bench(None, CONFIG)
    (bencher,) = eventually(lambda: benchers(device))
    server.cancel(work, "device revoked")
    eventually(lambda: not bencher.is_running() or bencher.status() == psutil.STATUS_ZOMBIE)
    eventually(lambda: not server.holds(work))
    held.unlink()
    device.deliver(server.ask(7, 1))
    assert work.data is None


def files(device: Device) -> set[str]:
    """What the device keeps."""
    kept = (device.home / name for name in ("models", "work", "epochs", "rounds", "states"))
    return {str(path) for folder in kept for path in folder.rglob("*") if path.is_file()}
