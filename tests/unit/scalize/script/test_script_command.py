"""The command as a device runs it: its own paths, interpreter and resources."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fedops.config.schema import Resources
from fedops.config.script_table import Script
from fedops.core.errors import Invalid
from fedops.scalize.script.command import command_here, environment


def words(tmp_path: Path, *command: str, **paths: str) -> list[str]:
    script = Script(command=list(command), paths=paths)
    return list(command_here(script, Resources(), tmp_path).words)


def test_python_is_that_of_this_environment(tmp_path: Path) -> None:
    for name in ("python", "python3.12", "./venv/bin/python3", "python.exe"):
        assert words(tmp_path, name, "main.py") == [sys.executable, "main.py"]


def test_a_program_of_the_project_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "train.sh").touch()
    assert words(tmp_path, "./train.sh") == ["./train.sh"]


def test_an_unknown_program_is_refused_with_where_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="'no-such-launcher', which is not here: install it"):
        words(tmp_path, "no-such-launcher", "main.py")


def test_paths_are_filled_in_and_other_braces_stay(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    found = words(tmp_path, "python", "main.py", "--data={data}", "model={a: 1}", data="images")
    assert found[1:] == ["main.py", "--data=images", "model={a: 1}"]


def test_a_path_that_is_not_here_says_which_line_to_write(tmp_path: Path) -> None:
    with pytest.raises(
        Invalid, match=r'writes data = "/path/of/it" under \[script.paths\] in device'
    ):
        words(tmp_path, "python", "main.py", "{data}", data="/nowhere/images")


def test_resources_are_honoured_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("FEDOPS_TOKEN", "secret")
    env = environment(Resources(threads=3, accelerator="cpu"))
    assert (env["OMP_NUM_THREADS"], env["CUDA_VISIBLE_DEVICES"]) == ("3", "")
    assert environment(Resources(accelerator="cuda:1"))["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in environment(Resources())
    assert "FEDOPS_TOKEN" not in env


def test_variables_in_front_of_a_command_are_set_for_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    line = ["env", "DATA={data}", "MODE=a=b", "python", "main.py", "x=1"]
    command = command_here(Script(command=line, paths={"data": "images"}), Resources(), tmp_path)
    assert command.words == (sys.executable, "main.py", "x=1")
    assert (command.env["DATA"], command.env["MODE"]) == ("images", "a=b")
    assert words(tmp_path, "env", "-u", "HOME", "python")[1:] == ["-u", "HOME", "python"]
