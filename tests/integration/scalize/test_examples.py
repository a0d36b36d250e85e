"""The example projects, unchanged: proposed, checked, and equal to their own scripts to the bit."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from fedops.scalize.check.project_check import CheckReport, check_project
from fedops.scalize.discovery.scaffold import init_project

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
TUTORIALS = ROOT / "tests" / "fixtures" / "tutorials"
NEEDS = {
    "pytorch-digits": ("torch", "sklearn"),
    "keras-wine": ("keras", "h5py", "sklearn"),
    "sklearn-cancer": ("sklearn", "pandas", "joblib"),
    "lora-reviews": ("transformers", "peft", "accelerate"),
    "one-file-torch": ("torch", "sklearn"),
    "trainer-class": ("torch", "sklearn"),
    "keras-two-inputs": ("keras",),
    "spam-bayes": ("sklearn",),
    "forecaster": ("torch",),
    "config-dict": ("torch", "sklearn"),
    "dataset-class": ("torch",),
}
#: Bytes that travel in both directions together: the model's own size, twice, and a header.
BYTES = {"pytorch-digits": 112_208, "sklearn-cancer": 2_976}


@pytest.fixture(autouse=True)
def keras_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def _copied(name: str, tmp_path: Path) -> Path:
    missing = [module for module in NEEDS[name] if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    source = EXAMPLES / name if (EXAMPLES / name).is_dir() else TUTORIALS / name
    ignored = shutil.ignore_patterns("__pycache__", "federated", "out*")
    return Path(shutil.copytree(source, tmp_path / name, ignore=ignored))


def _fingerprints(folder: Path) -> dict[str, str]:
    """Every file of the user's, and its digest."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and folder / "federated" not in file.parents
    }


def _scaffolded_and_checked(project: Path) -> CheckReport:
    before = _fingerprints(project)
    init_project(project)
    report = check_project(project)
    assert _fingerprints(project) == before
    return report


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_init_and_check(name: str, tmp_path: Path) -> None:
    report = _scaffolded_and_checked(_copied(name, tmp_path))
    assert report.problems == []
    assert report.ok
    assert report.app == f"{name}-federated"
    assert len(report.fingerprint) == 16
    assert any(parameter.federated for parameter in report.parameters)
    assert report.bytes_per_round == BYTES.get(name, report.bytes_per_round) > 0
    assert report.examples > 0
    assert report.seconds > 0
    assert {"loss", "accuracy", "score"} & set(report.metrics)


def test_only_lora_and_head_travel(tmp_path: Path) -> None:
    report = _scaffolded_and_checked(_copied("lora-reviews", tmp_path))
    for parameter in report.parameters:
        trained = ".lora_" in parameter.name or "modules_to_save" in parameter.name
        assert parameter.federated == trained, parameter.name
    assert sum(parameter.federated for parameter in report.parameters) < len(report.parameters) / 2


def _learn(what: str, project: Path, seed: int) -> dict[str, Any]:
    out = project.parent / f"{what}.safetensors"
    script = Path(__file__).with_name("example_scripts.py")
    command = [sys.executable, "-B", str(script), what, str(project), str(seed), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=290, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(out)


def _take_its_epochs(config: Path) -> None:
    """A round has one epoch, unless somebody asks for as many as the project trains for."""
    text = config.read_text()
    if own := re.search(r"trains for (\d+)", text):
        config.write_text(text.replace("num_epochs = 1", f"num_epochs = {own[1]}"))


#: Whose frameworks take long to start; the others show the same in CI.
SLOW = {"keras-wine", "lora-reviews"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.name, marks=[pytest.mark.long] if path.name in SLOW else [])
        for path in sorted(EXAMPLES.iterdir())
        if path.is_dir()
    ],
)
def test_one_client_and_one_round_equal_their_own_script(name: str, tmp_path: Path) -> None:
    project = _copied(name, tmp_path)
    init_project(project)
    _take_its_epochs(project / "federated" / "config.toml")
    theirs, ours = _learn("script", project, 5), _learn("federated", project, 5)
    assert set(ours) == set(theirs)
    for tensor, array in theirs.items():
        assert ours[tensor].tobytes() == array.tobytes(), tensor
