"""Scripts that fit estimators of scikit-learn, watched from inside."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from watched_scripts import Warm

from fedops.storage import tensors

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


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    modules = [
        "sklearn.linear_model",
        "sklearn.model_selection",
        "sklearn.neural_network",
        "sklearn.tree",
    ]
    process = Warm(tmp_path_factory.mktemp("estimators"), modules)
    yield process
    process.close()


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


def test_what_estimators_start_from_is_kept_and_can_be_put_in(warm: Warm, tmp_path: Path) -> None:
    first = warm.run(SEVERAL, DATA)
    seen = first.seen
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
    start, result = first.tensors("v0"), first.tensors("result")
    assert not start["LogisticRegression.coef_"].any()
    assert start["MLPClassifier.coefs_.0"].any()
    tensors.save(start, tmp_path / "own.safetensors")
    again = warm.again(first.place, model=tmp_path / "own.safetensors", models=names)
    assert again.seen.used is True
    assert again.output.endswith("\nFalse\n")  # warm_start as it was
    for name, array in again.tensors("result").items():
        assert np.array_equal(array, result[name]), name


def test_another_model_is_trained_in_its_place_and_a_second_fit_ends_the_round(
    warm: Warm, tmp_path: Path
) -> None:
    given = {"coef_": np.full((3, 4), 0.25), "intercept_": np.array([0.5, 0.0, -0.5])}
    tensors.save(given, tmp_path / "given.safetensors")
    script = (
        "c = SGDClassifier(eta0=0.0001, learning_rate='constant', max_iter=1, tol=None)\n"
        "c.fit(X, y)\nc.fit(X, y)\nprint('not reached')\n"
    )
    run = warm.run(script, DATA, model=tmp_path / "given.safetensors", passes=1, part=(1, 3))
    seen = run.seen
    assert (seen.used, seen.ended, seen.passes, seen.examples) == (True, "passes", 1, 20)
    assert np.allclose(run.tensors("result")["coef_"], 0.25, atol=0.02)
    fewer = script.replace("(X,", "(X[:, :3],")
    wrong = warm.run(fewer, DATA, model=tmp_path / "given.safetensors").seen
    assert (wrong.used, wrong.ended) == (False, "failed")
    assert wrong.first_difference == "SGDClassifier: coef_ is 3x3 here and 3x4 in the model"


def test_a_look_does_not_end_a_short_run(warm: Warm) -> None:
    script = "for C in (1, 2, 3, 4):\n    LogisticRegression(C=C).fit(X, y)\n"
    run = warm.run(script, DATA, passes=2, steps=2, earliest_end=60.0)
    assert (run.seen.ended, run.seen.passes) == ("script", 4)
    assert run.seen.notes[0].text.startswith("4 models of the kind LogisticRegression")


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        ("DecisionTreeClassifier()", "DecisionTreeClassifier grows trees, which differ by device"),
        ("LinearRegression()", "LinearRegression computes its weights from the data alone"),
    ],
)
def test_what_cannot_be_averaged_is_refused_in_a_sentence(warm: Warm, fit: str, words: str) -> None:
    script = f"cross_val_score(SGDClassifier(), X, y)\n{fit}.fit(X, y)\n"
    seen = warm.run(script, DATA).seen
    assert seen.models == []
    notes = {note.kind: note for note in seen.notes}
    assert notes["cross_validation"].where == "main.py:10"
    assert (notes["not_averageable"].weight, notes["not_averageable"].where) == (
        "refusal",
        "main.py:11",
    )
    assert notes["not_averageable"].text.startswith(words)


def test_a_learning_rate_that_falls_with_the_steps_goes_on_over_rounds(warm: Warm) -> None:
    script = (
        "c = SGDClassifier(random_state=0)\nc.partial_fit(X, y, classes=[0, 1, 2])\nprint(c.t_)\n"
    )
    first, later = warm.run(script, DATA), warm.run(script, DATA, scheduler_steps=60)
    assert (first.seen.scheduler_steps, first.output) == (60, "61.0\n")
    assert (later.seen.scheduler_steps, later.output) == (60, "121.0\n")


@pytest.mark.parametrize(
    "fit",
    [
        "SGDClassifier(random_state=0).fit(X, y)",
        "SGDClassifier(random_state=0).partial_fit(X, y, classes=[0, 1, 2])",
        "LogisticRegression(max_iter=5).fit(X, y)",
        "MLPClassifier((4,), max_iter=2, random_state=0).fit(X, y)",
    ],
)
def test_a_look_ends_once_the_given_model_is_in_its_place(warm: Warm, fit: str) -> None:
    first = warm.run(f"{fit}\nprint('fitted')\n", DATA)
    assert "fitted" in first.output
    look = warm.again(first.place, model=first.folder / "v0.safetensors", only_begin=True)
    assert (look.seen.ended, look.seen.used, look.seen.steps) == ("begun", True, 0)
    assert "fitted" not in look.output
    (loader,) = look.seen.loaders
    assert (loader.examples, loader.trains) == (first.seen.examples, True)
