"""Small projects that train by a command of their own, and their apps as observing them made them."""

from __future__ import annotations

import io
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fedops.config.schema import Resources
from fedops.config.script_table import Script
from fedops.scalize.observing.records import Job, Seen
from fedops.scalize.observing.running import watch
from fedops.scalize.script.command import command_here
from fedops.storage.tensors import Tensors

#: A script with options, a function ``main`` and data from a file.
WITH_MAIN = textwrap.dedent(
    """
    import argparse
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    def main():
        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int, default=3)
        parser.add_argument("--data", default="points.csv")
        args = parser.parse_args()
        rows = [list(map(float, line.split(","))) for line in open(args.data)]
        points = torch.tensor(rows)
        torch.manual_seed(3)
        loader = DataLoader(TensorDataset(points[:, :4], points[:, 4:]), batch_size=8, shuffle=True)
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for epoch in range(args.epochs):
            net.train()
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.mse_loss(net(x), y).backward()
                optimizer.step()
        torch.save(net.state_dict(), "net.pt")

    if __name__ == "__main__":
        main()
    """
)
#: Everything at the top of the module, with a scheduler, and the number of epochs in the source.
AT_THE_TOP = textwrap.dedent(
    """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    rows = [list(map(float, line.split(","))) for line in open("points.csv")]
    points = torch.tensor(rows)
    torch.manual_seed(5)
    loader = DataLoader(TensorDataset(points[:, :4], points[:, 4:]), batch_size=8, shuffle=True)
    net = nn.Linear(4, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    for epoch in range(4):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        scheduler.step()
    """
)


def points(count: int, seed: int) -> str:
    """Rows of four inputs and their sum, as CSV."""
    rows = [
        [(seed * 31 + row * 7 + column * 5) % 11 / 10 for column in range(4)]
        for row in range(count)
    ]
    return "\n".join(",".join(f"{value}" for value in [*row, sum(row)]) for row in rows)


def write_project(folder: Path, source: str, rows: int = 20) -> Path:
    """A project with ``main.py`` and its data."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(source)
    (folder / "points.csv").write_text(points(rows, 1))
    return folder


def observe(
    project: Path,
    command: list[str],
    job_folder: Path,
    paths: dict[str, str] | None = None,
    **said: Any,
) -> Seen:
    """One watched run in a copy of the project."""
    copy = job_folder / "copy"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("federated"))
    here = command_here(Script(command=command, paths=paths or {}), Resources(), copy)
    env = {**here.env, "OMP_NUM_THREADS": "1"}
    job = Job(folder=job_folder / "job", **said)
    return watch(here.words, copy, job, env=env, seconds=60)


def make_app(project: Path, scratch: Path, command: list[str], **script: Any) -> Path:
    """The app beside a project, as ``fedops init . -- COMMAND`` writes it."""
    seen = observe(project, command, scratch, script.get("paths"))
    initial = scratch / "job" / "v0.safetensors"
    return write_app(project, seen, initial, command=command, **script)


def write_app(project: Path, seen: Seen, initial: Path, **script: Any) -> Path:
    """The app's files. ``script``: what its config says under ``[script]``."""
    app = project / "federated"
    package = app / "fed_points"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "apps.py").write_text(_SOURCE)
    (app / "observed.json").write_text(seen.model_dump_json())
    shutil.copy(initial, app / "initial.safetensors")
    (app / "config.toml").write_text(tomli_w.dumps({"script": script}))
    tool = {
        "fedops": {
            "package": "fed_points",
            "config": "config.toml",
            "workdir": "..",
            "path": [".", ".."],
        },
        "flwr": {"app": {"publisher": "tests", "components": APPS}},
    }
    about = {"name": "points", "version": "1.0.0", "description": "", "license": "Apache-2.0"}
    text = tomli_w.dumps({"project": {**about, "dependencies": ["fedops"]}, "tool": tool})
    (app / "pyproject.toml").write_text(text)
    return app


_SOURCE = """\
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

server, client = ServerApp(), ClientApp()
"""
APPS = {"clientapp": "fed_points.apps:client", "serverapp": "fed_points.apps:server"}


def one_pass(rows: str, model: Tensors) -> Tensors:
    """The lines of ``WITH_MAIN``, written out once more: one pass from a given model on."""
    table = torch.tensor(np.loadtxt(io.StringIO(rows), delimiter=",").astype(np.float32))
    torch.manual_seed(3)
    loader = DataLoader(TensorDataset(table[:, :4], table[:, 4:]), batch_size=8, shuffle=True)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    net.load_state_dict({name: torch.tensor(np.array(array)) for name, array in model.items()})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}
