"""A command as the training of a round: the model goes in, the result comes out, the project stays."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
from script_apps import AT_THE_TOP, WITH_MAIN, make_app, observe, write_project

from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import Cancelled, TrainContext
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import load

COMMAND = ["python", "main.py"]
CONTEXT = TrainContext(round=1, seed=11, epochs=1, batch_size=8, learning_rate=0.01)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    pytest.MonkeyPatch().setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with ``main()`` and options, observed over two of its three passes."""
    folder = write_project(tmp_path_factory.mktemp("with") / "main", WITH_MAIN)
    app = make_app(folder, tmp_path_factory.mktemp("scratch"), COMMAND)
    return Project.open(app)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_round_is_a_pass_of_the_command_alone(project: Project, tmp_path: Path) -> None:
    home = project.app_dir.parent
    before = digests(home)
    observe(home, COMMAND, tmp_path, keep_pass=1)
    alone = load(tmp_path / "job" / "pass-1.safetensors")
    adapter = project.make_adapter(1)
    result = adapter.train(project.load_data().train, CONTEXT)
    trained = adapter.get_tensors()
    assert result.examples == 20
    assert result.metrics["loss"] > 0
    assert {name: array.tobytes() for name, array in trained.items()} == {
        name: alone[name].tobytes() for name in trained
    }
    assert digests(home) == before


def test_another_model_goes_in_and_is_the_one_trained(project: Project) -> None:
    adapter, other = project.make_adapter(1), project.make_adapter(1)
    other.set_tensors(
        {n: (a + 0.5).astype(a.dtype) for n, a in other.get_tensors().items() if "weight" in n}
    )
    for one in (adapter, other):
        one.train(None, CONTEXT)
    first, second = adapter.get_tensors(), other.get_tensors()
    assert not np.array_equal(first["0.weight"], second["0.weight"])
    assert np.allclose(second["0.weight"] - first["0.weight"], 0.5, atol=0.4)


def test_data_is_counted_by_a_run_up_to_the_first_step(project: Project) -> None:
    data = project.load_data()
    assert (data.examples, data.validation, data.dataset) == (20, None, "fed_points")
    assert project.load_data() is data


def test_the_commands_schedule_goes_on_from_round_to_round(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "top", AT_THE_TOP)
    adapter = Project.open(make_app(folder, tmp_path / "scratch", COMMAND)).make_adapter(1)
    start = adapter.get_tensors()["weight"]
    moved = []
    for _ in range(2):
        before = adapter.get_tensors()["weight"]
        adapter.train(None, CONTEXT)
        moved.append(float(np.abs(adapter.get_tensors()["weight"] - before).max()))
    assert not np.array_equal(start, adapter.get_tensors()["weight"])
    assert moved[1] < 0.8 * moved[0]  # the learning rate is half of what it was
    state = adapter.device_state()
    adapter.set_device_state({name: np.zeros_like(array) for name, array in state.items()})
    assert int(next(iter(state.values()))[0]) == 2


def test_a_cancelled_round_ends_at_once(project: Project) -> None:
    cancelled = threading.Event()
    adapter = project.make_adapter(1)
    threading.Timer(0.5, cancelled.set).start()
    with pytest.raises(Cancelled):
        adapter.train(None, dataclasses.replace(CONTEXT, cancelled=cancelled))


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project", WITH_MAIN)
    app = make_app(folder, tmp_path / "scratch", COMMAND)
    (folder / "points.csv").write_text("1,2,x")
    with pytest.raises(
        Invalid, match=r"failed before it trained.*could not convert string to float"
    ):
        Project.open(app).load_data()
