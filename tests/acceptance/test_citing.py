"""Numbers that can be cited: a study, its export, a run of it once more, and a version on a device's data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from federating import LIGHT, WITH_LIGHT, enrol

from fedops.demo.federation import Federation

NAMES = ["ada", "bob"]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Two devices of the task ``cited``."""
    with Federation(tmp_path_factory.mktemp("federation"), WITH_LIGHT) as made:
        made.start_server()
        made.create_task("cited", LIGHT)
        enrol(made, NAMES, "cited", app=LIGHT)
        yield made


def test_a_study_is_exported_and_one_of_its_runs_gives_the_same_model_again(
    federation: Federation, tmp_path: Path
) -> None:
    forecast = federation.admin("run", "start", "cited", "--seeds", "2", "--dry-run")
    assert (forecast["seeds"], forecast["total_bytes"]) == ([42, 43], None)
    assert federation.admin("run", "list") == []
    summary = federation.admin("run", "start", "cited", "--seeds", "2", "--follow")
    assert [(run["seed"], run["status"]) for run in summary["runs"]] == [
        (42, "completed"),
        (43, "completed"),
    ]
    assert summary["metrics"][0]["metric"] == "accuracy"
    assert summary["notes"] == []
    second = summary["runs"][1]["run"]
    federation.admin("run", "export", "--study", "1", "--out", str(tmp_path / "e.zip"))
    again = federation.admin(
        "run", "rerun", str(tmp_path / "e.zip"), "--run", str(second), "--follow"
    )
    with federation.operator() as operator:
        models = {model.run_id: model for model in operator.models("cited") if model.version}
    assert (again["status"], again["same_model"]) == ("completed", True)
    assert models[again["id"]].sha256 == models[second].sha256
    assert len({model.sha256 for model in models.values()}) == 2
    known = federation.admin("run", "start", "cited", "--dry-run")
    assert [device["examples"] for device in known["devices"]] == [120, 120]
    assert known["total_bytes"] > 0


def test_a_device_evaluates_a_version_while_its_client_manager_runs(
    federation: Federation,
) -> None:
    home = federation.device_home("ada")
    report = federation.command("client", "evaluate", "latest", "--home", str(home))
    assert (report["task"], report["device"], report["examples"]) == ("cited", "ada", 40)
    assert json.loads(Path(report["path"]).read_text())["metrics"] == report["metrics"]
    federation.check_parts()
