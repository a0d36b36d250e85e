"""A command as the training of a round: the model goes in, the result comes out, the project stays."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from script_apps import AT_THE_TOP, WITH_MAIN, make_app, one_pass, points, write_project

from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import Cancelled, TrainContext
from fedops.scalize.flow.project import Project

CONTEXT = TrainContext(round=1, seed=11, epochs=1, batch_size=8, learning_rate=0.01)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    pytest.MonkeyPatch().setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the project with ``main()`` and options."""
    folder = write_project(tmp_path_factory.mktemp("with") / "main", WITH_MAIN)
    command = ["python", "main.py", "--data", "{data}"]
    return make_app(
        folder, tmp_path_factory.mktemp("scratch"), command, paths={"data": "points.csv"}
    )


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_round_is_a_pass_of_the_scripts_own_lines_from_the_given_model(app: Path) -> None:
    before = digests(app.parent)
    adapter = Project.open(app).make_adapter(1)
    weights = {n: a for n, a in adapter.get_tensors().items() if "weight" in n}
    adapter.set_tensors({n: (a + 0.5).astype(a.dtype) for n, a in weights.items()})
    expected = one_pass(points(20, 1), adapter.get_tensors())
    result = adapter.train(None, CONTEXT)
    trained = adapter.get_tensors()
    assert {n: a.tobytes() for n, a in trained.items()} == {
        n: expected[n].tobytes() for n in trained
    }
    assert (result.examples, result.metrics["loss"] > 0) == (20, True)
    assert digests(app.parent) == before


def test_data_is_counted_by_a_run_up_to_the_first_step(app: Path) -> None:
    project = Project.open(app)
    data = project.load_data()
    assert (data.examples, data.validation, data.dataset) == (20, None, "fed_points")
    assert project.load_data() is data


def test_a_device_may_take_a_part_of_the_data(app: Path) -> None:
    part = ["dataset.partition.index=1", "dataset.partition.of=4"]
    assert Project.open(app, part).make_adapter(1).train(None, CONTEXT).examples == 5
    with pytest.raises(Invalid, match="scheme = 'shards' needs to see the examples"):
        Project.open(app, [*part, "dataset.partition.scheme=shards"]).load_data()


def test_the_commands_schedule_goes_on_from_round_to_round(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "top", AT_THE_TOP)
    made = make_app(folder, tmp_path / "scratch", ["python", "main.py"])
    adapter = Project.open(made).make_adapter(1)
    moved = []
    for _ in range(2):
        before = adapter.get_tensors()["weight"]
        adapter.train(None, CONTEXT)
        moved.append(float(np.abs(adapter.get_tensors()["weight"] - before).max()))
    assert (
        moved[1] < 0.8 * moved[0]
    )  # Adam moves by the learning rate, which is half of what it was
    state = adapter.device_state()
    assert [array.tolist() for array in state.values()] == [[2]]
    adapter.set_device_state({name: np.zeros_like(array) for name, array in state.items()})
    assert [array.tolist() for array in adapter.device_state().values()] == [[0]]


def test_a_cancelled_round_ends_soon(app: Path) -> None:
    cancelled = threading.Event()
    adapter = Project.open(app).make_adapter(1)
    threading.Timer(0.5, cancelled.set).start()
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        adapter.train(None, dataclasses.replace(CONTEXT, cancelled=cancelled))
    assert time.monotonic() - begun < 5


def test_a_command_that_fails_says_why(app: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.csv").write_text("1,2,x")
    project = Project.open(app, [f'script.paths.data="{tmp_path}/wrong.csv"'])
    with pytest.raises(Invalid, match=r"failed before it trained.*could not convert string to"):
        project.load_data()
