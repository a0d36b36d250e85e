"""What an app's own ServerApp wrote stays when its attempt's folder is removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedops.server.jobs import app_outputs
from fedops.server.jobs.app_outputs import keep_outputs


def work_folder(root: Path, number: int) -> Path:
    work = root / f"work-{number}"
    for folder in ("tmp", "flwr", "checkpoints"):
        (work / folder).mkdir(parents=True)
    (work / "tmp" / "scratch").write_text("x")
    (work / "final_model.npz").write_bytes(b"model")
    (work / "checkpoints" / "1.pt").write_bytes(b"first")
    return work


def test_its_files_are_kept_and_nothing_that_leads_elsewhere(tmp_path: Path) -> None:
    work, kept = work_folder(tmp_path, 1), tmp_path / "kept"
    secret = tmp_path / "secret"
    secret.write_text("token")
    (work / "stolen").symlink_to(secret)
    (work / "checkpoints" / "stolen").symlink_to(secret)
    keep_outputs(work, kept)
    found = {p.relative_to(kept).as_posix() for p in kept.rglob("*") if not p.is_dir()}
    assert found == {"work-1/final_model.npz", "work-1/checkpoints/1.pt"}
    assert (work / "tmp" / "scratch").exists()


def test_an_app_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    work = tmp_path / "work-1"
    (work / "tmp").mkdir(parents=True)
    keep_outputs(work, tmp_path / "kept")
    keep_outputs(tmp_path / "nowhere", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_old_ones_and_too_large_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_outputs, "_ATTEMPTS", 2)
    kept = tmp_path / "kept"
    for number in (1, 2, 3):
        keep_outputs(work_folder(tmp_path, number), kept)
        os.utime(kept / f"work-{number}", (number, number))
    keep_outputs(work_folder(tmp_path, 4), kept)
    assert sorted(folder.name for folder in kept.iterdir()) == ["work-3", "work-4"]
    monkeypatch.setattr(app_outputs, "_MOST_BYTES", 5)
    keep_outputs(work_folder(tmp_path, 5), kept)
    assert not (kept / "work-5").exists()
