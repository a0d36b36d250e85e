"""``fedops ci``: its exit code, its JSON document, its JUnit file and what GitHub is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fedops.scalize.discovery.scaffold import init_project

pytest.importorskip("sklearn", reason="the project here uses scikit-learn")

PROJECT = """\
import numpy as np
from sklearn.linear_model import SGDClassifier

def load_data():
    x = np.random.default_rng(1).random((60, 4))
    return x, (x[:, 0] > 0.5).astype(int)

def make_model():
    return SGDClassifier(loss="log_loss", random_state=0)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "flowers"
    folder.mkdir()
    (folder / "flowers.py").write_text(PROJECT)
    init_project(folder)
    return folder


def ci(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedops.cli", "ci", str(folder), *words]
    surroundings = {**os.environ, **env}
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=120)


def test_a_sound_app_ends_with_zero_and_real_numbers(project: Path, tmp_path: Path) -> None:
    junit = tmp_path / "reports" / "ci.xml"
    done = ci(project, "--rounds", "1", "--json", "--junit", str(junit), GITHUB_ACTIONS="true")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True)
    assert report["simulation"]["clients"] == 2
    assert len(report["simulation"]["rounds"]) == 1
    assert 0.5 < report["simulation"]["metrics"]["accuracy"] <= 1
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    assert [case.get("name") for case in suite.iter("testcase")] == ["check", "simulation"]


def test_a_broken_app_ends_with_one_and_github_is_told_where(project: Path, tmp_path: Path) -> None:
    (project / "flowers.py").write_text(
        PROJECT.replace("def make_model():", "def make_model():\n    1 / 0")
    )
    junit = tmp_path / "ci.xml"
    where = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(project)}
    done = ci(project, "--json", "--junit", str(junit), **where)
    first, _, document = done.stdout.partition("\n")
    assert first.startswith("::error file=flowers.py,line=")
    assert "ZeroDivisionError" in first
    assert done.returncode == 1
    assert json.loads(document)["simulation"] is None
    root = ElementTree.parse(junit).getroot()
    assert (root.get("failures"), root.get("skipped")) == ("1", "1")
    failure = root.find(".//failure")
    assert failure is not None
    assert "ZeroDivisionError" in failure.get("message", "")
