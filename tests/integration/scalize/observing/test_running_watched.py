"""A command as a process of its own: how it is started, watched, ended and read."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest
from watched_scripts import BEGIN

from fedops.core.errors import Invalid
from fedops.processes.process_tree import find_process
from fedops.scalize.adapter.protocol import Cancelled
from fedops.scalize.observing.records import Job, Seen
from fedops.scalize.observing.running import watch

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def said(folder: Path) -> list[str]:
    return (folder / "job" / "output.log").read_text().splitlines()


def run(folder: Path, text: str, *arguments: str, seconds: float = 120.0, **job: object) -> Seen:
    project = folder / "project"
    project.mkdir(exist_ok=True)
    (project / "main.py").write_text(text)
    lines: list[str] = []
    seen = watch(
        [sys.executable, "main.py", *arguments],
        project,
        Job.model_validate({"folder": folder / "job", **job}),
        env=ENV,
        seconds=seconds,
        on_output=lines.append,
    )
    assert lines == [line for line in said(folder) if line]
    return seen


MAIN = (
    """
import importlib.util
importlib.util.find_spec("torch")
"""
    + BEGIN
    + """
import argparse, os, shutil
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
options = parser.parse_args()
if __name__ == "__main__":
    os.system("stty size")
    try:
        input("go on? ")
    except EOFError:
        print("nobody there")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(options.epochs):
        epoch(optimizer)
    print("hidden too:", os.environ.get("OTHER_SITE"))
    raise SystemExit("done")
"""
)


def test_a_script_is_seen_whoever_looked_for_torch_before(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import os; os.environ['OTHER_SITE'] = 'yes'")
    ENV["PYTHONPATH"] = str(site)
    try:
        seen = run(tmp_path, MAIN, "--epochs", "2")
    finally:
        del ENV["PYTHONPATH"]
    assert said(tmp_path)[:3] == ["24 80", "go on? nobody there", "hidden too: yes"]
    assert (seen.ended, seen.exit_code, seen.passes, seen.steps) == ("script", 1, 2, 8)
    assert seen.frameworks == ["torch"]
    assert (tmp_path / "job" / "result.safetensors").is_file()


def test_what_cannot_be_watched_is_one_sentence(tmp_path: Path) -> None:
    job = Job(folder=tmp_path / "job")
    with pytest.raises(Invalid, match="cannot start 'no-such-program'"):
        watch(["no-such-program"], tmp_path, job, seconds=5)
    with pytest.raises(Invalid, match=r"no Python that the command started.*\n.*\n.*only words"):
        watch(["echo", "only words"], tmp_path, job, seconds=20)
    with pytest.raises(Invalid, match="killed by SIGKILL; that is what happens where memory runs"):
        watch(["sh", "-c", "kill -9 $$"], tmp_path, job, seconds=20)
    with pytest.raises(Invalid, match="no command is named"):
        watch([], tmp_path, job, seconds=5)


def test_a_script_that_fails_tells_its_last_line(tmp_path: Path) -> None:
    seen = run(tmp_path, "import json\njson.loads('{')\n")
    assert (seen.ended, seen.exit_code, seen.error_where) == ("failed", 1, "main.py:2")
    assert seen.error.startswith("JSONDecodeError")


OPTIONS = """
import argparse, helper, os
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
open("../data/rides.csv").close()
os.chdir("sub")
open("../own.csv").close()
import atexit
atexit.register(print, "Set FULL_ERROR=1 for more.")
parser.parse_args()
"""


def test_what_stands_before_a_command_hides_neither_it_nor_its_last_words(tmp_path: Path) -> None:
    files = {"lib/helper.py": "", "data/rides.csv": "", "project/own.csv": ""}
    for name, text in {"project/main.py": OPTIONS, **files}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "project" / "sub").mkdir()
    command = ["env", "PYTHONPATH=../lib", "LEVEL=a=b", sys.executable, "main.py", "--rate", "1"]
    seen = watch(command, tmp_path / "project", Job(folder=tmp_path / "job"), env=ENV, seconds=60)
    said_last = "main.py: error: unrecognized arguments: --rate 1"
    assert (seen.exit_code, seen.error) == (2, said_last)
    # As the code names them, and as they are seen from where the command was started.
    assert {"../data/rides.csv", "own.csv"} <= set(seen.read)


def test_nothing_outlives_a_command_that_is_late_or_cancelled(tmp_path: Path) -> None:
    text = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    with pytest.raises(
        Invalid, match="did not end within 2 s, and trained nothing: let it do less"
    ):
        run(tmp_path, text, seconds=2)
    left = find_process(int(said(tmp_path)[0]))
    assert left is None or left.status() == psutil.STATUS_ZOMBIE  # who reaps it is not ours to say
    began = time.monotonic()
    with pytest.raises(Cancelled):
        watch(
            [sys.executable, "main.py"],
            tmp_path / "project",
            Job(folder=tmp_path / "job"),
            env=ENV,
            seconds=60,
            cancelled=lambda: True,
        )
    assert time.monotonic() - began < 5
