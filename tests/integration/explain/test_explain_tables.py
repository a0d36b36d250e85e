"""Explaining models of tables: estimators of scikit-learn, and PyTorch models of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from fedops.core.errors import Invalid
from fedops.explain.explainers.options import Options
from fedops.explain.service.explainer import Explainer

BOTH = ("permutation", "shap")


def rows(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The class is the sign of the first feature; the third is noise."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(count, 3))
    return table, (table[:, 0] + 0.2 * table[:, 1] > 0).astype(int)


def test_the_feature_that_decides_comes_first(tmp_path: Path) -> None:
    model = LogisticRegression().fit(*rows())
    explainer = Explainer.open(
        model,
        Options(methods=BOTH, samples=8),
        rows(seed=1),
        folder=tmp_path,
        names=["a", "b", "c"],
    )
    assert explainer.kind == "table"
    report = explainer.run(model, LogisticRegression(C=0.01).fit(*rows(20)), round=1, full=True)
    for row in report.samples:
        if row["method"] == "permutation":
            assert next(iter(row["features"])) == "a"
    scores = report.quality["global"]["shap"]
    assert scores["deletion"] < scores["deletion_random"]
    assert scores["insertion"] > scores["insertion_random"]
    assert sorted(report.sheets) == ["sheet-permutation-predicted.png", "sheet-shap-predicted.png"]
    assert {row.series for row in report.drift} == {"local to global"}
    assert json.loads((report.folder / "report.json").read_text())["kind"] == "table"


def test_shap_values_are_complete(tmp_path: Path) -> None:
    data = load_breast_cancer()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data, data.target)
    explainer = Explainer.open(
        model,
        Options(methods=("shap",), samples=4, explain="true"),
        (data.data, data.target),
        folder=tmp_path,
    )
    report = explainer.run(model, round=1)
    maps = np.load(report.folder / "maps.npz")
    values, targets = maps["global/shap/true/values"], maps["global/shap/true/targets"]
    chosen = data.data[report.probe["indices"]]
    reference = explainer._engine._reference.inputs.numpy()[:50]  # type: ignore[union-attr]
    base = model.predict_proba(reference).mean(0)
    gain = (model.predict_proba(chosen) - base)[np.arange(4), targets]
    np.testing.assert_allclose(values.sum(1), gain, atol=1e-5)
    maps.close()


def test_shap_values_of_a_linear_regression_by_hand(tmp_path: Path) -> None:
    data = load_diabetes()
    model = LinearRegression().fit(data.data, data.target)
    # a value that is no whole number says that it is no class
    answers = data.target + 0.5
    explainer = Explainer.open(
        model, Options(methods=BOTH, samples=3), (data.data, answers), folder=tmp_path
    )
    report = explainer.run(model, round=1)
    with np.load(report.folder / "maps.npz") as maps:
        values = maps["global/shap/true/values"]
    reference = explainer._engine._reference.inputs.numpy()[:50]  # type: ignore[union-attr]
    expected = (data.data[report.probe["indices"]] - reference.mean(0)) * model.coef_
    np.testing.assert_allclose(values, expected, atol=1e-2)
    assert "deletion" not in report.quality["global"]["shap"]


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.hidden(x)))


def test_a_pytorch_model_of_rows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Rows()
    table, labels = rows()
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        loss = nn.functional.cross_entropy(
            model(torch.from_numpy(table).float()), torch.from_numpy(labels)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    explainer = Explainer.open(
        model, Options(methods=BOTH, samples=6), rows(seed=1), folder=tmp_path
    )
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    report = explainer.run(weights, model, round=1, full=True)
    assert next(iter(report.samples[0]["features"])) == "feature 0"
    assert len(report.samples) == 6 * len(BOTH) * 2, "a line for each sample, method and model"
    for line in report.samples:
        assert ("wrong" in line["flags"]) == (line["label"] != line["predicted"])
    assert "sanity" in report.quality["global"]["permutation"]
    assert all(row.cosine == pytest.approx(1, abs=1e-5) for row in report.drift)


def test_it_leaves_the_random_state_of_numpy_alone(tmp_path: Path) -> None:
    model = LogisticRegression().fit(*rows())
    before = np.random.get_state()[1].tolist()
    explainer = Explainer.open(
        model, Options(methods=("shap",), samples=3), rows(), folder=tmp_path
    )
    first = explainer.run(model, round=1)
    again = explainer.run(model, round=1)
    assert np.random.get_state()[1].tolist() == before
    assert first.samples == again.samples
    assert not explainer.thread_safe


def test_a_model_without_probabilities(tmp_path: Path) -> None:
    model = SGDClassifier(loss="hinge", random_state=0).fit(*rows())
    report = Explainer.open(model, Options(methods=BOTH, samples=4), rows(), folder=tmp_path).run(
        model, round=1
    )
    assert all(0 <= row["probability"] <= 1 for row in report.samples)


def test_classes_that_do_not_start_at_zero(tmp_path: Path) -> None:
    table, labels = rows()
    model = LogisticRegression().fit(table, labels * 4 + 3)
    report = Explainer.open(
        model, Options(methods=BOTH, samples=6), (table, labels * 4 + 3), folder=tmp_path
    ).run(model, round=1)
    assert {row["predicted"] for row in report.samples} == {3, 7}
    with pytest.raises(
        Invalid, match=r"the model knows no class 0; it was fitted for \[3.0, 7.0\]"
    ):
        Explainer.open(model, Options(methods=BOTH), (table, labels), folder=tmp_path)


@pytest.mark.parametrize(
    ("model", "options", "data", "message"),
    [
        (
            LogisticRegression().fit(*rows()),
            {},
            rows(),
            "'gradcam' explains images, and .* rows of a table",
        ),
        (
            object(),
            {"methods": BOTH},
            rows(),
            "models with 'predict' or 'predict_proba'; this one is a object",
        ),
        (
            LogisticRegression().fit(*rows()),
            {"methods": BOTH},
            (rows()[0][:, :2], rows()[1]),
            "does not accept a row of 2 features",
        ),
    ],
)
def test_mistakes_are_found_when_it_is_opened(
    model: Any, options: dict[str, Any], data: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=message):
        Explainer.open(model, Options(**options), data, folder=tmp_path)


def test_tensors_alone_make_no_estimator(tmp_path: Path) -> None:
    model = LogisticRegression().fit(*rows())
    explainer = Explainer.open(model, Options(methods=BOTH), rows(), folder=tmp_path)
    with pytest.raises(Invalid, match="give the fitted estimator itself"):
        explainer.run({"coef_": model.coef_}, round=1)
