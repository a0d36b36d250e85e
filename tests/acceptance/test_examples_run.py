"""Each example project, unchanged, in a run with two devices that have half of its data each."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from federating import QUIET, complete

from fedops.demo.federation import Federation
from fedops.scalize.discovery.scaffold import init_project
from fedops.storage.tensors import load

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["left", "right"]
#: What the server, which has no data, must be told (``fedops check`` says so).
SIZES = {"sklearn-cancer": ["dataset.features=30", "dataset.classes=[0,1]"]}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Two devices, joined, each with one example's client at a time."""
    home = tmp_path_factory.mktemp("federation")
    with Federation(home, {**QUIET, "KERAS_BACKEND": "torch"}) as made:
        made.start_server()
        for name in NAMES:
            made.join(name)
        yield made


def fingerprints(project: Path) -> dict[str, str]:
    """Every file of the author's, and its digest."""
    return {
        str(file.relative_to(project)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(project.rglob("*"))
        if file.is_file() and project / "federated" not in file.parents
    }


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.name, marks=[] if path.name == "pytorch-digits" else [pytest.mark.long])
        for path in sorted(EXAMPLES.iterdir())
        if path.is_dir()
    ],
)
def test_two_devices_complete_a_run(name: str, federation: Federation, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "federated", "out*")
    project = Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored))
    before = fingerprints(project)
    sizes = SIZES.get(name, [])
    init_project(project)
    federation.create_task(name, project / "federated", sizes)
    for index, device in enumerate(NAMES):
        part = [f"dataset.partition.index={index}", "dataset.partition.of=2"]
        federation.start_client(device, project / "federated", name, overrides=[*part, *sizes])
    federation.until_ready(NAMES, seconds=120)
    run = complete(federation, name, "num_rounds=1", "clients_per_round=2")
    for device in NAMES:
        federation.stop(device)
    with federation.operator() as operator:
        participations = [p for r in operator.rounds(run.id) for p in r.participations]
        first, last = (
            load(operator.download_model(name, version, tmp_path / version))
            for version in ("V0", f"V{run.version}")
        )
    assert [(p.device, str(p.status)) for p in participations] == [(n, "replied") for n in NAMES]
    assert any(not np.array_equal(first[tensor], array) for tensor, array in last.items())
    assert fingerprints(project) == before
