"""Looks at a command of the user's own: how often it is run, and how far."""

import sys
from pathlib import Path

import pytest

from fedops.config.loading import read_toml
from fedops.scalize.discovery.observed import looks
from fedops.scalize.discovery.observed.app_files import write_app
from fedops.scalize.discovery.observed.proposal import propose_script

SCRIPT = """\
import numpy as np
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier
X = np.random.default_rng(0).normal(size=(40, 3))
y = (X[:, 0] > 0).astype(int)
for kind in (LogisticRegression, Perceptron, SGDClassifier):
    kind().fit(X, y)
"""


def test_models_that_are_trained_one_after_another_are_all_seen_whatever_the_script_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "FIRST_SECONDS", 0.0)
    project = tmp_path / "project"
    project.mkdir()
    (project / "step_test.py").write_text(SCRIPT)
    said: list[str] = []
    how = looks.Watching(tmp_path / "runs", 60.0, on_look=said.append)
    look = looks.look_at(project, [sys.executable, "step_test.py"], how)
    assert said == ["it trains several models one after another, so it is run to its own end"]
    names = ["LogisticRegression", "Perceptron", "SGDClassifier"]
    assert ([model.name for model in look.seen.models], look.seen.ended) == (names, "script")
    write_app(propose_script(look, {"models": "Perceptron"}))
    manifest = read_toml(project / "federated" / "pyproject.toml")["tool"]["fedops"]
    assert manifest["carry"] == ["step_test.py"], "what is named as a test travels all the same"
