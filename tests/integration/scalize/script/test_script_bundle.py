"""What the server has of an app with a command of its own: V0 and its contract, and nothing is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from script_apps import write_app

from fedops.core.errors import Invalid
from fedops.flower.app_package import build_bundle
from fedops.flower.checks.app_check import BeforeATask
from fedops.flower.checks.config_check import problem_of
from fedops.scalize.flow.project import Project
from fedops.scalize.observing.records import Seen, SeenModel, SeenTensor
from fedops.storage import tensors
from fedops.storage.app_archives import unpack

#: Would be noticed, if it were run.
SOURCE = "open('it-was-run', 'w')\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text(SOURCE)
    net = SeenModel(
        name="Net", kind="main.Net", tensors=[SeenTensor(name="w", shape=[2], dtype="float32")]
    )
    tensors.save({"w": np.array([1, 2], np.float32)}, tmp_path / "v0.safetensors")
    command = ["python", "main.py", "--data", "{data}"]
    return write_app(
        project,
        Seen(models=[net]),
        tmp_path / "v0.safetensors",
        command=command,
        paths={"data": "/x"},
    )


def test_the_bundle_has_the_initial_model_and_the_code(app: Path, tmp_path: Path) -> None:
    bundle = build_bundle(app)
    assert bundle == build_bundle(app)
    (tmp_path / "app.fab").write_bytes(bundle)
    unpack(tmp_path / "app.fab", tmp_path / "unpacked")
    project = Project.open(tmp_path / "unpacked")
    assert project.make_adapter(3).get_tensors()["w"].tolist() == [1.0, 2.0]
    assert (project.manifest.workdir or Path() / "main.py").joinpath("main.py").is_file()
    assert not list(tmp_path.rglob("it-was-run"))


def test_a_device_is_told_which_path_to_name(app: Path) -> None:
    with pytest.raises(Invalid, match=r"\{data\}, which is not here \(/x does not exist\)"):
        Project.open(app).load_data()
    with pytest.raises(Invalid, match="/y does not exist"):
        Project.open(app, ['script.paths.data="/y"']).load_data()


def test_settings_that_the_command_would_not_heed_are_refused(app: Path) -> None:
    script = {"command": ["python", "main.py", "--data", "{data}"], "paths": {"data": "/x"}}
    plain = {"script": script, "num_rounds": 5}
    assert problem_of(app, plain, only_strategy=False) == ""
    wrong = problem_of(app, {**plain, "batch_size": 64}, only_strategy=False)
    assert "batch_size does nothing for an app that is trained by its own command" in (wrong or "")
    wrong = problem_of(app, {**plain, "xai": {"enabled": True}}, only_strategy=False)
    assert "cannot be explained" in (wrong or "")
    check = BeforeATask()
    check.look_at(Project.open(app))
    with pytest.raises(Invalid, match="batch_size does nothing"):
        check.look_at(Project.open(app, ["batch_size=64"]))


def test_a_bundle_without_its_initial_model_is_refused(app: Path) -> None:
    (app / "initial.safetensors").unlink()
    with pytest.raises(Invalid, match=r"there is no .*initial.safetensors"):
        build_bundle(app)
