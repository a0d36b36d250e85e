"""``fedops explain``: a stored model on local data, and one clear message for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fedops.cli.main import main
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import pack

APP = Path(__file__).parents[3] / "apps" / "mnist-xai"
DIGITS = ["--set", "dataset.name=digits"]

PYPROJECT = """
[project]
name = "{name}"
version = "1"
[tool.fedops]
package = "{name}"
config = "{name}/config.toml"
[tool.fedops.flow]
data = "{name}.flow.load_data"
"""
CONFIG = """
model_type = "Pytorch"
[model]
_target_ = "{name}.flow.Model"
[dataset]
validation_split = 0.5
"""
#: Images of 8 x 8, one of which cannot be read, and a model without convolutions.
FLAT = """
import torch
from torch import nn

class Model(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 2))

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 12
    def __getitem__(self, index):
        if index in (4, 7):
            raise OSError("the disk has a bad sector")
        return torch.full((1, 8, 8), index / 12), index % 2

def load_data():
    return Data(), Data()
"""
#: The same, but the samples are neither pictures nor rows.
SOUND = FLAT.replace("torch.full((1, 8, 8)", "torch.full((64, 1)").replace("(4, 7)", "()")


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path, before = list(sys.path), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    sys.path[:] = path


def stored(app: Path, file: Path, *overrides: str) -> Path:
    """A model of an app as the registry would keep it."""
    adapter = Project.open(app, overrides).make_adapter(42)
    file.write_bytes(bytes(pack(adapter.get_tensors())))
    return file


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = list(sys.path)
    made = stored(APP, tmp_path_factory.mktemp("model") / "v3.safetensors", "dataset.name=digits")
    sys.path[:] = path
    return made


Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, JSON document and stderr of a command in this process."""

    def call(*words: str) -> tuple[int, dict[str, Any], str]:
        with pytest.raises(SystemExit) as ended:
            main(["explain", "--json", *words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), json.loads(out), err

    return call


def own_app(folder: Path, name: str, flow: str) -> Path:
    package = folder / name
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name))
    (package / "__init__.py").touch()
    (package / "config.toml").write_text(CONFIG.format(name=name))
    (package / "flow.py").write_text(flow)
    return folder


def test_a_stored_version_on_local_data(run: Run, weights: Path, tmp_path: Path) -> None:
    words = ["--app", str(APP), "--weights", str(weights), *DIGITS, "--method", "gradcam"]
    words += ["--layer", "conv2", "--samples", "5", "--out", str(tmp_path / "out")]
    code, found, _ = run(*words)
    assert code == 0
    assert len(found["samples"]) == 5
    for row in found["samples"]:
        assert {"label", "predicted", "probability", "png", "flags"} <= set(row)
        with Image.open(row["png"]) as picture:
            assert picture.size == (344, 112)
    scores = found["quality"]["gradcam"]
    assert {"deletion", "insertion", "deletion_random", "insertion_random", "road"} <= set(scores)
    assert len(scores["sanity_by_layer"]) == 4
    assert Path(found["sheets"][0]).is_file()
    assert (found["layer"], found["dataset"], found["complete"]) == ("conv2", "digits", True)
    assert (tmp_path / "out" / "maps.npz").is_file()
    again = run(*words)[1]
    assert again["samples"] == found["samples"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--method", "gradkam"], 2, "no explanation method 'gradkam'; did you mean 'gradcam'?"),
        (["--method", "guided_backprop"], 2, "'guided_backprop' is not offered"),
        (["--method", "shap"], 2, "'shap' explains tables, not images"),
        (["--layer", "convv2"], 2, "did you mean 'conv2'? Eligible convolutions: 'conv1', 'conv2'"),
        (["--layer", "fc1"], 2, "layer 'fc1' (Linear) has no spatial map"),
        (["--out", "/proc/nowhere"], 6, "explanations cannot be written to /proc/nowhere"),
        (["--weights", "/nowhere.safetensors"], 2, "cannot read the tensors in /nowhere"),
        (["--app", "/nowhere"], 2, "no app folder /nowhere"),
        (["--samples", "0"], 2, "--samples"),
        (["--set", "xai.run_location=server"], 2, "must be 'client'"),
        (["--set", "dataset.validation_split=0"], 2, "this device has none"),
    ],
)
def test_a_mistake_is_one_message(
    words: list[str], code: int, says: str, run: Run, weights: Path, tmp_path: Path
) -> None:
    usual = ["--app", str(APP), "--weights", str(weights), *DIGITS, "--out", str(tmp_path / "out")]
    ended, found, err = run(*usual, *words)
    assert ended == code
    assert says in found["message"]
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*.png"))


def test_weights_of_another_model(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(bytes(pack({"fc.weight": np.zeros((2, 2), np.float32)})))
    words = ["--app", str(APP), *DIGITS, "--out", str(tmp_path / "out"), "--weights", str(other)]
    code, found, _ = run(*words)
    assert code == 2
    assert "does not hold this app's model: it lacks 'conv1.weight'" in found["message"]
    stored(APP, other, "dataset.name=digits", "model.output_size=7")
    code, found, _ = run(*words)
    assert code == 2
    assert "does not fit this app's model" in found["message"]
    assert "fc2" in found["message"]


def test_a_model_without_convolutions_and_samples_that_cannot_be_read(
    run: Run, tmp_path: Path
) -> None:
    app = own_app(tmp_path / "app", "flatpictures", FLAT)
    words = ["--app", str(app), "--weights", str(stored(app, tmp_path / "w")), "--samples", "12"]
    words += ["--out", str(tmp_path / "out")]
    code, found, _ = run(*words)
    assert code == 2
    assert "the model has no convolution with a spatial map; choose methods" in found["message"]
    code, found, _ = run(*words, "--method", "saliency")
    assert code == 0
    assert len(found["samples"]) == 10
    notes = " ".join(found["notes"])
    assert "sample 4 skipped" in notes
    assert "the disk has a bad sector" in notes


def test_samples_that_are_no_pictures(run: Run, tmp_path: Path) -> None:
    app = own_app(tmp_path / "app", "sounds", SOUND)
    weights = stored(app, tmp_path / "w")
    code, found, _ = run("--app", str(app), "--weights", str(weights), "--out", str(tmp_path / "o"))
    assert code == 2
    assert "the samples of this task have shape [64, 1]" in found["message"]


@pytest.mark.parametrize(("missing", "method"), [("matplotlib", "gradcam"), ("captum", "saliency")])
def test_a_library_that_is_not_installed(
    missing: str, method: str, weights: Path, tmp_path: Path
) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None; from fedops.cli.main import main; main()"
    )
    words = ["--app", str(APP), "--weights", str(weights), *DIGITS, "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", script, "explain", *words, "--method", method],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"'{missing}" in done.stderr
    assert "pip install 'fedops[xai]'" in done.stderr
    assert "Traceback" not in done.stderr
