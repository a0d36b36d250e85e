"""A script that nobody changed, trained by two devices: what a loop by hand computes, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from federating import QUIET, complete
from script_apps import WITH_MAIN, make_app, one_pass, points, write_project

from fedops.algorithms.aggregation import weighted_mean
from fedops.demo.federation import Federation
from fedops.storage.tensors import Tensors, load

ROWS = {"left": 20, "right": 36}
ROUNDS = 2


@dataclass(frozen=True)
class Trained:
    """What a run left."""

    app: Path
    first: Tensors
    last: Tensors
    examples: dict[str, int]
    files: dict[str, str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Two rounds on two devices, each of which has told where its data is."""
    home = tmp_path_factory.mktemp("scripts")
    project = write_project(home / "project", WITH_MAIN)
    app = _app(project, home / "scratch")
    with Federation(home / "federation", QUIET) as federation:
        federation.start_server()
        federation.create_task("points", app)
        for seed, (name, rows) in enumerate(ROWS.items()):
            (home / f"{name}.csv").write_text(points(rows, seed))
            federation.join(name)
            path = f'[script.paths]\ndata = "{home}/{name}.csv"\n'
            (federation.device_home(name) / "device.toml").write_text(path)
            federation.start_client(name, app, "points")
        federation.until_ready(list(ROWS), seconds=120)
        run = complete(federation, "points", f"num_rounds={ROUNDS}", "clients_per_round=2")
        with federation.operator() as operator:
            replies = [p for r in operator.rounds(run.id) for p in r.participations]
            first, last = (
                load(operator.download_model("points", version, home / version))
                for version in ("V0", f"V{run.version}")
            )
        examples = {p.device: p.examples or 0 for p in replies}
        yield Trained(app, first, last, examples, _files(project))


def _app(project: Path, scratch: Path) -> Path:
    """Observed with the data of its author; each device has its own."""
    command = ["python", "main.py", "--data", "{data}"]
    return make_app(project, scratch, command, paths={"data": "points.csv"})


def _files(project: Path) -> dict[str, str]:
    inside = [file for file in project.iterdir() if file.is_file()]
    return {file.name: file.read_text() for file in sorted(inside)}


def by_hand(model: Tensors) -> Tensors:
    """Federated averaging as one reads it in a paper; counters take the largest."""
    torch.set_num_threads(1)
    for _ in range(ROUNDS):
        updates = [one_pass(points(n, seed), model) for seed, n in enumerate(ROWS.values())]
        floats = [name for name, array in model.items() if array.dtype.kind == "f"]
        mean = weighted_mean(updates, [float(n) for n in ROWS.values()], floats)
        largest = {n: np.maximum(*(u[n] for u in updates)) for n in model if n not in floats}
        model = {**mean, **largest}
    return model


def test_the_global_model_equals_that_of_a_loop_by_hand(trained: Trained) -> None:
    plain = by_hand(trained.first)
    assert sorted(plain) == sorted(trained.last)
    for name, array in plain.items():
        assert array.tobytes() == trained.last[name].tobytes(), name
    assert any(not np.array_equal(trained.first[name], plain[name]) for name in plain)


def test_it_began_with_the_observed_model_and_counted_the_data(trained: Trained) -> None:
    observed = load(trained.app / "initial.safetensors")
    assert {n: a.tobytes() for n, a in trained.first.items()} == {
        n: a.tobytes() for n, a in observed.items()
    }
    assert trained.examples == ROWS


def test_the_project_stayed_as_it_was(trained: Trained) -> None:
    assert trained.files == {"main.py": WITH_MAIN, "points.csv": points(20, 1)}
