"""Failpoints: nothing without a folder; with one, every pass is counted and the chosen one struck."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from fedops import failpoints
from fedops.processes.spawn import clean_env

PROGRAM = """
from fedops.failpoints import reached
for _ in range(3):
    reached("here")
    print("passed", flush=True)
"""


def start(folder: Path | None) -> subprocess.Popen[str]:
    env = clean_env({failpoints.VARIABLE: str(folder)} if folder else {})
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=env, stdout=subprocess.PIPE, text=True
    )


def test_without_the_variable_nothing_happens(tmp_path: Path) -> None:
    program = start(None)
    assert program.communicate()[0].split() == ["passed"] * 3
    assert not list(tmp_path.iterdir())


def test_passes_are_counted_over_all_processes_and_one_of_them_dies(tmp_path: Path) -> None:
    (tmp_path / "here.armed").write_text("kill@5\n")
    assert start(tmp_path).communicate()[0].split() == ["passed"] * 3
    second = start(tmp_path)
    assert second.communicate()[0].split() == ["passed"]
    assert second.returncode == -signal.SIGKILL
    assert (tmp_path / "here").stat().st_size == 5
    assert (tmp_path / "here.fired").read_text().split()[0] == str(second.pid)


def test_who_is_held_goes_on_when_the_mark_is_removed(tmp_path: Path) -> None:
    (tmp_path / "here.armed").write_text("hold@2\n")
    program = start(tmp_path)
    assert program.stdout is not None
    assert program.stdout.readline() == "passed\n"
    held = tmp_path / "here.held"
    while not held.exists():
        assert program.poll() is None
    assert held.read_text().strip() == str(program.pid)
    held.unlink()
    assert program.communicate()[0].split() == ["passed"] * 2
