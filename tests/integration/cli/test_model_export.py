"""``fedops model export``: files that other programs run, with the outputs of the model, or none."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from managing import managing

from fedops.cli.main import main
from fedops.core import contracts as c
from fedops.scalize.export.comparing import largest_difference
from fedops.scalize.export.export_report import ExportQuestion, ExportReport, Format
from fedops.scalize.export.exporting import Export
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import pack

torch = pytest.importorskip("torch", reason="the models here are of PyTorch")
ort = pytest.importorskip("onnxruntime", reason="ONNX files are run here")

PYPROJECT = """
[project]
name = "line"
version = "1"
[tool.fedops]
package = "line"
config = "line.toml"
[tool.fedops.flow]
data = "line.load_data"
"""
MODEL = """
import numpy as np
import torch
from sklearn.linear_model import SGDClassifier

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return {forward}

def load_data():
    x = np.random.default_rng(1).random((20, 2)).astype("float32")
    return x, (x[:, 0] > 0.5).astype(int)

def classifier():
    return SGDClassifier(loss="log_loss", random_state=0)
"""
X = np.random.default_rng(1).random((7, 2)).astype("float32")


def write_app(folder: Path, forward: str = "x @ self.w", model: str = "Model") -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "line.py").write_text(MODEL.replace("{forward}", forward))
    (folder / "line.toml").write_text(f'[model]\n_target_ = "line.{model}"\n')
    return folder


def export(app: Path, kind: Format, weights: Path, **asked: object) -> ExportReport:
    out = app.parent / f"out.{kind}"
    question = {"app_dir": str(app), "weights": str(weights), "format": kind, "out": str(out)}
    return Export(ExportQuestion.model_validate({**question, **asked})).run()


def weights_of(folder: Path, dtype: str = "float32", **arrays: object) -> Path:
    file = folder / "weights.safetensors"
    file.write_bytes(pack({name: np.array(a, dtype=dtype) for name, a in arrays.items()}))
    return file


def test_a_version_of_a_task_is_exported_as_onnx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app, out = write_app(tmp_path / "line"), tmp_path / "v1.onnx"
    with managing(tmp_path) as world:
        world.task()
        world.ready_devices("a", "b")
        _, engine = world.running("mnist", "num_rounds=1")
        world.do_round(engine, 1, "a", "b", value=3.0)
        engine.finish(c.EngineFinish(outcome="completed"))
        token = world.manager.services.settings.admin_token_file.read_text().strip()
        monkeypatch.setenv("FEDOPS_TOKEN", token)
        words = ["model", "export", "mnist", "V1", "--app", str(app), "--out", str(out)]
        with pytest.raises(SystemExit) as ended:
            main([*words, "--server", world.url, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert (report["ok"], report["inputs"]) == (True, ["input: float32, N x 2"])
    session = ort.InferenceSession(str(out))
    for size in (1, 7):  # any number of examples
        (said,) = session.run(None, {"input": X[:size]})
        assert np.allclose(said, X[:size].sum(axis=1) * 3.0, atol=1e-5)


def test_torchscript_needs_nothing_of_the_app(tmp_path: Path) -> None:
    report = export(write_app(tmp_path / "line"), "torchscript", weights_of(tmp_path, w=[1.0, 2.0]))
    assert report.problems == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have torch.export
        loaded = torch.jit.load(tmp_path / "out.torchscript")
    (said,) = loaded(torch.from_numpy(X))
    assert np.allclose(said.detach().numpy(), X @ [1.0, 2.0])


def test_a_model_that_a_graph_cannot_hold_is_not_written(tmp_path: Path) -> None:
    """Tracing follows one branch: with other values the file would say something else."""
    branch = "x @ self.w if len(x) > 1 else x @ self.w + 5"
    report = export(
        write_app(tmp_path / "line", branch), "torchscript", weights_of(tmp_path, w=[1.0, 2.0])
    )
    assert "differs from the model's own by up to 5" in report.problems[0]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith((".out", "out"))] == []


def test_a_trained_classifier_says_the_same_labels(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    app = write_app(tmp_path / "line", model="classifier")
    adapter = Project.open(app).make_adapter(0)
    names = {"coef_": [[4.0, -3.0]], "intercept_": [-0.5], "t_": 5.0}
    weights = weights_of(tmp_path, "float64", **names)
    assert {spec.name for spec in adapter.contract.federated} == set(names)
    report = export(app, "onnx", weights)
    assert report.problems == []
    labels, chances = ort.InferenceSession(str(tmp_path / "out.onnx")).run(None, {"X": X})
    wanted = X @ [4.0, -3.0] - 0.5
    assert labels.tolist() == (wanted > 0).astype(int).tolist()
    assert np.allclose(chances[:, 1], 1 / (1 + np.exp(-wanted)), atol=1e-4)
    refused = export(app, "torchscript", weights)
    assert refused.problems == ["scikit-learn has no TorchScript: use --format onnx"]


def test_the_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    report = export(write_app(tmp_path / "line"), "onnx", weights_of(tmp_path, other=[1.0]))
    assert "does not hold this app's model: it lacks 'w'" in report.problems[0]


@pytest.mark.parametrize("wrong", [1.01, float("nan")])
def test_what_is_more_than_rounding_is_a_difference(wrong: float) -> None:
    one = [np.ones(3, dtype=np.float32)]
    assert largest_difference(one, [one[0] + np.float32(1e-5)], ["y"]) == pytest.approx(
        1e-5, rel=0.1
    )
    with pytest.raises(Exception, match="'y' of the exported model differs"):
        largest_difference(one, [np.array([1.0, 1.0, wrong], dtype=np.float32)], ["y"])
