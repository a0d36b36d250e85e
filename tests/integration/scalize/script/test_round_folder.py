"""The folder that a command runs in: it has the project's files, and the project keeps its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fedops.processes.own_folder import own_folder
from fedops.scalize.script import round_folder as rooms
from fedops.scalize.script.round_folder import outputs, round_folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in ("main.py", "nets/unet.py", "data/a.csv", ".git/HEAD", "federated/config.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "pyvenv.cfg").touch()
    return folder


def test_code_is_copied_and_the_folder_is_gone_afterwards(project: Path) -> None:
    with round_folder(project, [project / "federated"]) as folder:
        assert sorted(path.name for path in folder.work.iterdir()) == ["data", "main.py", "nets"]
        (folder.work / "main.py").write_text("changed")
        (folder.work / "data" / "a.csv").unlink()
        (folder.work / "data").chmod(0o500)
        above = folder.work.parent
    assert not above.exists()
    assert (project / "main.py").read_text() == "main.py"
    assert (project / "data" / "a.csv").exists()


def test_what_a_killed_process_left_is_removed(project: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [Path(tempfile.gettempdir()) / f"fedops-{w}-{ended.pid}-x" for w in ("round", "proof")]
    for folder in left:
        (folder / "main").mkdir(parents=True)
    with round_folder(project) as mine, round_folder(project):
        assert mine.work.exists()
    assert [folder.exists() for folder in left] == [False, True]
    with own_folder("proof") as place:
        assert place.is_dir()
    assert [folder.exists() for folder in (left[1], place)] == [False, False]


def test_data_is_linked(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "COPIED_BYTES", 8)
    monkeypatch.setattr(rooms, "MANY", 2)
    for number in range(3):
        (project / "data" / f"{number}.png").touch()
        (project / "nets" / f"{number}.txt").touch()
    with round_folder(project) as folder:
        assert (folder.work / "data").is_symlink()
        assert not (folder.work / "nets").is_symlink()
        assert (folder.work / "nets" / "unet.py").is_symlink()
        assert (folder.work / "data" / "a.csv").read_text() == "data/a.csv"
    assert (project / "data" / "a.csv").exists()


def test_what_an_earlier_run_wrote_is_left_out_unless_it_is_data(tmp_path: Path) -> None:
    written = ["runs/log.txt", "best.pt", "data/raw/train.pt", "/elsewhere/x", "../other/y"]
    read = {"best.pt", "data/raw/train.pt"}
    assert outputs(tmp_path, written, read) == [tmp_path / "runs/log.txt", tmp_path / "best.pt"]
