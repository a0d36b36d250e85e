"""Projects of more kinds, each trained by the same two devices: what a loop by hand computes, bit for bit."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from federating import QUIET, until
from script_apps import make_app, points

from fedops.algorithms.aggregation import weighted_mean
from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation
from fedops.storage.tensors import Tensors, load

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROWS = {"left": 20, "right": 36}
#: Where a script's loop is about to begin: there the loop by hand loads its model.
BEGIN = "# now it trains"

DATA = """
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

lines = Path("points.csv").read_text().splitlines()
rows = torch.tensor([list(map(float, line.split(","))) for line in lines])
torch.manual_seed(3)
"""
GAN = (
    DATA
    + f"""
loader = DataLoader(TensorDataset(rows), batch_size=8, shuffle=True)
maker, judge = nn.Linear(2, 5), nn.Linear(5, 1)
of_maker = torch.optim.Adam(maker.parameters(), lr=0.02)
of_judge = torch.optim.Adam(judge.parameters(), lr=0.02)
loss_of = nn.BCEWithLogitsLoss()
{BEGIN}
for epoch in range(2):
    for (real,) in loader:
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = maker(torch.randn(len(real), 2))
        of_judge.zero_grad()
        (loss_of(judge(real), ones) + loss_of(judge(fake.detach()), zeros)).backward()
        of_judge.step()
        of_maker.zero_grad()
        loss_of(judge(fake), ones).backward()
        of_maker.step()
"""
)
#: The cells of a notebook, with a scheduler that goes on from round to round.
CELLS = [
    "%matplotlib inline\nfrom IPython.display import display",
    DATA,
    textwrap.dedent(
        f"""
        loader = DataLoader(TensorDataset(rows[:, :4], rows[:, 4:]), batch_size=8, shuffle=True)
        net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.3)
        {BEGIN}
        for epoch in range(2):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.mse_loss(net(x), y).backward()
                optimizer.step()
            scheduler.step()
        """
    ),
    "display(net)",
]
ESTIMATOR = f"""
import numpy as np
from sklearn.linear_model import SGDRegressor

rows = np.loadtxt("points.csv", delimiter=",")
model = SGDRegressor(learning_rate="constant", max_iter=3, tol=None, random_state=0)
start = {{}}
{BEGIN}
model.fit(rows[:, :4], rows[:, 4], **start)
"""


def notebook(cells: list[str]) -> str:
    made = [{"cell_type": "code", "source": cell, "outputs": [], "metadata": {}} for cell in cells]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made})


@dataclass(frozen=True)
class Kind:
    """A kind of project."""

    name: str
    file: str
    text: str
    command: tuple[str, ...]
    #: What is run by hand, and how the model goes in before its loop.
    source: str
    loads: str
    #: The names of its models in the script, by the prefix of their tensors; none: an estimator.
    models: dict[str, str]


TORCH_LOADS = "[one.load_state_dict(given[name]) for name, one in found.items()]"
KINDS = [
    Kind(
        "gan",
        "main.py",
        GAN,
        ("python", "main.py"),
        GAN.replace("range(2)", "range(1)"),
        f"found = {{'Linear.': maker, 'Linear2.': judge}}\n{TORCH_LOADS}",
        {"Linear.": "maker", "Linear2.": "judge"},
    ),
    Kind(
        "notebook",
        "train.ipynb",
        notebook(CELLS),
        ("train.ipynb",),
        "\n".join(CELLS[1:3]).replace("range(2)", "range(1)"),
        f"found = {{'': net}}\n{TORCH_LOADS}\noptimizer.param_groups[0]['lr'] *= 0.3**rounds",
        {"": "net"},
    ),
    Kind(
        "estimator",
        "main.py",
        ESTIMATOR,
        ("python", "main.py"),
        ESTIMATOR,
        "start = {'coef_init': given['']['coef_'], 'intercept_init': given['']['intercept_']}",
        {},
    ),
]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A server, and two devices that are not started."""
    with Federation(tmp_path_factory.mktemp("kinds"), QUIET) as made:
        made.start_server()
        for name in ROWS:
            made.join(name)
        yield made


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_global_model_equals_that_of_a_loop_by_hand(
    kind: Kind, federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_of(kind, tmp_path)
    federation.create_task(kind.name, app)
    places = {name: place_of(name, app.parent, tmp_path) for name in ROWS}
    for name, place in places.items():
        federation.start_client(name, place / "federated", kind.name)
    federation.until_ready(list(ROWS), seconds=120)
    first, last = trained(federation, kind.name, tmp_path)
    for name in ROWS:
        federation.stop(name)
    model = first
    for round_ in range(2):
        updates = []
        for place in places.values():
            monkeypatch.chdir(place)
            updates.append(one_round(kind, model, round_))
        model = averaged(updates)
    assert sorted(model) == sorted(last)
    for tensor, array in model.items():
        assert array.tobytes() == last[tensor].tobytes(), tensor
    assert any(not np.array_equal(first[tensor], model[tensor]) for tensor in model)


def app_of(kind: Kind, above: Path) -> Path:
    """Observed with data of its author's."""
    project = above / "project"
    project.mkdir()
    (project / kind.file).write_text(kind.text)
    (project / "points.csv").write_text(points(12, 5))
    return make_app(project, above / "scratch", list(kind.command), passes=1)


def place_of(device: str, project: Path, above: Path) -> Path:
    """The project as a device has it, with its own data."""
    place = above / device / "project"
    shutil.copytree(project, place)
    (place / "points.csv").write_text(points(ROWS[device], len(device)))
    return place


def trained(federation: Federation, task: str, above: Path) -> tuple[Tensors, Tensors]:
    """V0, and what two rounds of both devices made of it."""
    with federation.operator() as operator:
        rounds = ["num_rounds=2", "clients_per_round=2"]
        run = operator.start_run(task, c.RunStart(overrides=rounds))
        run = until(federation, run.id, RunStatus.COMPLETED, seconds=240)
        examples = {p.device: p.examples for r in operator.rounds(run.id) for p in r.participations}
        assert examples == ROWS
        first, last = (
            load(operator.download_model(task, version, above / version))
            for version in ("V0", f"V{run.version}")
        )
    return first, last


def one_round(kind: Kind, model: Tensors, rounds: int) -> Tensors:
    """The script's own lines in this process. ``rounds``: how many there were before."""
    torch.set_num_threads(1)
    as_tensors = torch.tensor if kind.models else np.array
    given = {
        prefix: {
            n.removeprefix(prefix): as_tensors(a) for n, a in model.items() if n.startswith(prefix)
        }
        for prefix in kind.models or {"": ""}
    }
    names: dict[str, Any] = {"given": given, "rounds": rounds}
    exec(kind.source.replace(BEGIN, kind.loads), names)
    if not kind.models:
        return {"coef_": names["model"].coef_, "intercept_": names["model"].intercept_}
    return {
        prefix + name: tensor.numpy().copy()
        for prefix, variable in kind.models.items()
        for name, tensor in names[variable].state_dict().items()
    }


def averaged(updates: list[Tensors]) -> Tensors:
    """By examples; counters take the largest."""
    floats = [name for name, array in updates[0].items() if array.dtype.kind == "f"]
    mean = weighted_mean(updates, [float(n) for n in ROWS.values()], floats)
    rest = [name for name in updates[0] if name not in floats]
    return {**mean, **{name: np.maximum(*(u[name] for u in updates)) for name in rest}}
