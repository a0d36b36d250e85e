"""``fedops init . -- COMMAND``: a command is run once and watched, and the app around it is written."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from fedops.cli.main import main
from fedops.scalize.flow.manifest import read_manifest
from fedops.scalize.observing.records import Seen
from fedops.storage import tensors

SCRIPT = """\
import argparse
import torch
torch.set_num_threads(1)
p = argparse.ArgumentParser()
p.add_argument("--epochs", type=int, default=9)
p.add_argument("--data")
args = p.parse_args()
torch.manual_seed(3)
rows = torch.tensor([float(line) for line in open(args.data)]).view(-1, 2)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows), batch_size=4)
def fit(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(args.epochs):
        for (batch,) in loader:
            optimizer.zero_grad()
            (model(batch[:, :1]) - batch[:, 1:]).square().mean().backward()
            optimizer.step()
"""
ONE = SCRIPT + "fit(torch.nn.Linear(1, 1))\n"
TWO = SCRIPT + (
    "class Teacher(torch.nn.Linear): pass\nclass Student(torch.nn.Linear): pass\n"
    "fit(Teacher(1, 1))\nfit(Student(1, 1, bias=False))\n"
)
NOTHING = "import sys\nprint('no data here')\nsys.exit(3)\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "rides").mkdir()
    (tmp_path / "data.txt").write_text("".join(f"{n / 8}\n" for n in range(16)))
    for name, text in {"one": ONE, "two": TWO, "nothing": NOTHING}.items():
        (tmp_path / "rides" / f"{name}.py").write_text(text)
    return tmp_path / "rides"


def _init(project: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["init", str(project), *words])
    return int(ended.value.code or 0)


def test_a_command_becomes_an_app(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "one.py", "--data", "../data.txt", "--epochs=2"]
    before = {file: file.read_bytes() for file in project.iterdir() if file.is_file()}
    assert _init(project, "--yes", "--", *command) == 0
    said = capsys.readouterr().out
    assert "epochs: 1: one pass over the training data a round" in said
    assert "--epochs 2 made 2 passes (one.py:5)" in said
    assert {file: file.read_bytes() for file in before} == before
    app = project / "federated"
    config = tomllib.loads((app / "config.toml").read_text())
    assert config["script"]["command"] == ["python", "one.py", "--data", "{data}", "--epochs=1"]
    assert config["script"]["paths"] == {"data": "../data.txt"}
    manifest = read_manifest(app)
    assert manifest.workdir == project
    assert "one" in manifest.packages
    seen = Seen.model_validate_json((app / "observed.json").read_text())
    assert (seen.passes, seen.steps, seen.examples) == (2, 4, 16)
    assert list(tensors.load(app / "initial.safetensors")) == ["bias", "weight"]
    assert _init(project, "--yes", "--", *command) == 5, "nothing is overwritten"


def test_an_open_question_is_told_to_a_program(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "two.py", "--data", "../data.txt", "--epochs", "1"]
    assert _init(project, "--json", "--", *command) == 2
    document = json.loads(capsys.readouterr().out)
    (question,) = document["questions"]
    assert [option["value"] for option in question["options"]] == ["Teacher", "Student"]
    assert document["ok"] is False
    assert not (project / "federated").exists()


def test_a_command_that_trains_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _init(project, "--yes", "--", sys.executable, "nothing.py") == 1
    said = capsys.readouterr().out
    assert "  | no data here" in said
    assert "failed before it trained: no data here" in said
    assert not (project / "federated").exists()


def test_what_cannot_be_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = {
        ("--",): "there is nothing behind --",
        ("--", "no-such-program"): "there is no such program",
        ("--step", "a=b", "--", "python"): "--step is for a project without a command",
        ("--answer", "models", "--", "python"): "write KEY=VALUE",
    }
    for words, message in cases.items():
        assert _init(project, *words) == 2
        assert message in capsys.readouterr().err
    assert _init(project / ".." / "rides", "--seconds", "1", "-y", "--", "sleep", "60") == 2
    assert "did not end within 1 s" in capsys.readouterr().err
