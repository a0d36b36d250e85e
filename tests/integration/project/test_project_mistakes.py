"""Projects with mistakes in them, and what is said of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_files import code, configure, said

from fedops.core.errors import Invalid
from fedops.scalize.flow.project import Project


def test_folders_that_are_no_apps(app: Path, tmp_path: Path) -> None:
    assert "there is no app folder" in said(Invalid, Project.open, tmp_path / "nowhere")
    assert "has no pyproject.toml" in said(Invalid, Project.open, tmp_path)
    (app / "pyproject.toml").write_text("[project]\nname='x'\n")
    assert "no [tool.fedops] table" in said(Invalid, Project.open, app)
    (app / "pyproject.toml").write_text("[tool.fedops]\n")
    assert "package: is missing" in said(Invalid, Project.open, app)
    (app / "pyproject.toml").write_text("[tool.fedops]\npackage = 'x'\nflw = 1\n")
    assert "did you mean 'flow'?" in said(Invalid, Project.open, app)
    (app / "pyproject.toml").write_text("[tool.fedops]\npackage = 'x'\n")
    assert "there is no config file" in said(Invalid, Project.open, app)
    (app / "pyproject.toml").write_text("[tool.fedops\n")
    assert "no valid TOML" in said(Invalid, Project.open, app)


def test_a_broken_config_names_file_and_line(app: Path) -> None:
    (app / "myapp" / "conf" / "config.toml").write_text("a = 1\nb = [1,\nc = 2\n")
    message = said(Invalid, Project.open, app)
    assert "config.toml" in message
    assert "line 3" in message


def test_every_bad_key_is_named(app: Path) -> None:
    configure(app, "num_round = 3\nbatch_size = 0\n")
    message = said(Invalid, Project.open, app)
    assert all(words in message for words in ("config.toml", "'num_rounds'", "batch_size = 0"))


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        ("", "names no data step; write data ="),
        ('data = "load"', "no dotted name"),
        ('data = "nowhere.load"', "there is no module 'nowhere'"),
        ('data = "myapp.dta.load"', "'myapp' has no 'dta'; did you mean 'data'?"),
        ('data = "myapp.data.laod"', "'myapp.data' has no 'laod'; did you mean 'load'?"),
        ('data = "myapp.data.calls"', "is a list, nothing that can be called"),
    ],
)
def test_a_step_that_is_missing_or_misnamed(app: Path, flow: str, words: str) -> None:
    (app / "pyproject.toml").write_text(
        f'[tool.fedops]\npackage = "myapp"\n[tool.fedops.flow]\n{flow}\n'
    )
    message = said(Invalid, Project.open(app).load_data)
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import not_installed\n", ["'not_installed' (", "data.py, line 1)"]),
        ("def load(:\n", ["SyntaxError", "data.py, line 1)"]),
        ("x = 1 / 0\n", ["ZeroDivisionError", "data.py, line 1)"]),
        ("def load():\n    return open('/no/file')\n", ["FileNotFoundError", "data.py, line 2)"]),
        ("def load(weights): pass", ["for its parameter 'weights'", "data.py, line 1)"]),
        ("def load(): return 3", ["returned a int as training data", "data.py, line 1)"]),
        ("def load(): return []", ["no training example of 'toy' and sits out", "line 1)"]),
        ("def load(): return {'train': iter([1])}", ["of unknown length", "data.py, line 1)"]),
    ],
    ids=["import", "syntax", "raises", "fails", "parameter", "kind", "empty", "stream"],
)
def test_a_data_step_that_fails(app: Path, text: str, words: list[str]) -> None:
    code(app, text)
    message = said(Invalid, Project.open(app).load_data)
    assert all(part in message for part in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("[model]\n_target_ = 'myapp.nets.Net'\n", ["parameter 'width'", "[model]", "nets.py"]),
        ("[model]\n_target_ = 'myapp.nets.Net'\nwidht = 4\n", ["widht", "did you mean 'width'?"]),
        ("[model]\n_target_ = 'myapp.nets.Net'\nwidth = 'x'\n", ["failed: TypeError", "nets.py"]),
        ("[model]\n_target_ = 'builtins.dict'\n", ["gave a dict", "model_type", "'pytorch'"]),
        (
            "model_type='pytorch'\n[model]\n_target_ = 'builtins.dict'\n",
            ["gave a dict; PyTorch needs a torch.nn.Module"],
        ),
        (
            "[model]\n_target_ = 'myapp.nets.Net'\nwidth = 4\nactivation._target_ = 'torch.nn.Rlu'\n",
            ["[model] activation._target_", "did you mean 'ReLU'?"],
        ),
        (
            "[model]\n_target_ = 'myapp.nets.Net'\nwidth = 4\n"
            "activation = {_target_ = 'torch.nn.LeakyReLU', slope = 1}\n",
            ["[model]: an argument cannot be made", "slope"],
        ),
    ],
    ids=["missing", "unknown", "raises", "kind", "wrong kind", "nested name", "nested call"],
)
def test_a_model_step_that_fails(app: Path, config: str, words: list[str]) -> None:
    (app / "myapp" / "conf" / "config.toml").write_text(config)
    message = said(Invalid, Project.open(app).make_adapter, 1)
    assert all(part in message for part in words), message
    assert "\n" not in message


def test_a_partition_without_an_index(app: Path) -> None:
    for override in ("dataset.partition.of=3", "dataset.partition.index=3"):
        project = Project.open(app, [override])
        assert "on the device dataset.partition.index" in said(Invalid, project.load_data)
