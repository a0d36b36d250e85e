"""Scripts that fit estimators of scikit-learn, watched from inside."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fedops.scalize.observing.records import Job, Seen
from fedops.scalize.observing.running import watch

DATA = """\
import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
X = np.random.default_rng(0).normal(size=(60, 4))
y = np.digitize(X[:, 0], [-0.5, 0.5])
"""


def run(folder: Path, script: str, **job: object) -> Seen:
    (folder / "main.py").write_text(DATA + script)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    asked = Job(folder=folder / "job", **job)  # type: ignore[arg-type]
    return watch([sys.executable, "-W", "ignore", "main.py"], folder, asked, env=env, seconds=100)


def tensors(folder: Path, stem: str) -> dict[str, np.ndarray]:
    return load_file(folder / "job" / f"{stem}.safetensors")


#: Every way in which an estimator starts: weights it draws, zeros it allocates, attributes it is given.
SEVERAL = """\
make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=3, random_state=0)).fit(X, y)
warm = LogisticRegression(max_iter=5)
warm.fit(X, y)
steps = SGDClassifier(random_state=0)
for epoch in range(2):
    for start in range(0, 60, 20):
        steps.partial_fit(X[start : start + 20], y[start : start + 20], classes=[0, 1, 2])
print(warm.warm_start)
"""


def test_what_estimators_start_from_is_kept_and_can_be_put_in(tmp_path: Path) -> None:
    seen = run(tmp_path, SEVERAL)
    names = ["MLPClassifier", "LogisticRegression", "SGDClassifier"]
    assert [(m.name, m.framework, m.where, m.steps) for m in seen.models] == [
        (names[0], "sklearn", "main.py:10", 1),
        (names[1], "sklearn", "main.py:12", 1),
        (names[2], "sklearn", "main.py:16", 6),
    ]
    kinds = {(note.kind, note.where, note.weight) for note in seen.notes}
    assert kinds == {
        ("learns_locally", "main.py:10", "difference"),
        ("several_models", "main.py:10", "question"),
    }
    start, result = tensors(tmp_path, "v0"), tensors(tmp_path, "result")
    assert not start["LogisticRegression.coef_"].any()
    assert start["MLPClassifier.coefs_.0"].any()
    save_file(start, tmp_path / "own.safetensors")
    again = run(tmp_path, SEVERAL, model=tmp_path / "own.safetensors", models=names)
    assert again.used is True
    assert (tmp_path / "job" / "output.log").read_text() == "False\n"  # warm_start as it was
    for name, array in tensors(tmp_path, "result").items():
        assert np.array_equal(array, result[name]), name


def test_another_model_is_trained_in_its_place_and_a_second_fit_ends_the_round(
    tmp_path: Path,
) -> None:
    given = {"coef_": np.full((3, 4), 0.25), "intercept_": np.array([0.5, 0.0, -0.5])}
    save_file(given, tmp_path / "given.safetensors")
    script = (
        "c = SGDClassifier(eta0=0.0001, learning_rate='constant', max_iter=1, tol=None)\n"
        "c.fit(X, y)\nc.fit(X, y)\nprint('not reached')\n"
    )
    seen = run(tmp_path, script, model=tmp_path / "given.safetensors", passes=1, part=(1, 3))
    assert (seen.used, seen.ended, seen.passes, seen.examples) == (True, "passes", 1, 20)
    assert np.allclose(tensors(tmp_path, "result")["coef_"], 0.25, atol=0.02)
    wrong = run(tmp_path, script.replace("(X,", "(X[:, :3],"), model=tmp_path / "given.safetensors")
    assert (wrong.used, wrong.ended) == (False, "failed")
    assert wrong.first_difference == "SGDClassifier: coef_ is 3x3 here and 3x4 in the model"


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        ("DecisionTreeClassifier()", "DecisionTreeClassifier grows trees, which differ by device"),
        ("LinearRegression()", "LinearRegression computes its weights from the data alone"),
    ],
)
def test_what_cannot_be_averaged_is_refused_in_a_sentence(
    tmp_path: Path, fit: str, words: str
) -> None:
    script = f"cross_val_score(SGDClassifier(), X, y)\n{fit}.fit(X, y)\n"
    seen = run(tmp_path, script)
    assert seen.models == []
    notes = {note.kind: note for note in seen.notes}
    assert notes["cross_validation"].where == "main.py:10"
    assert (notes["not_averageable"].weight, notes["not_averageable"].where) == (
        "refusal",
        "main.py:11",
    )
    assert notes["not_averageable"].text.startswith(words)
