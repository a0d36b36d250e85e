"""The served file is whole at every moment, and the one before is kept."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from fedops.client.serving.served_model import ServedModel
from fedops.client.serving.serving_folder import ServingFolder, WrongBytes


def version(folder: Path, number: int, size: int = 1_000) -> tuple[Path, ServedModel]:
    data = bytes([number]) * size
    file = folder / f"source-{number}"
    file.write_bytes(data)
    about = ServedModel(
        task="mnist",
        version=number,
        sha256=hashlib.sha256(data).hexdigest(),
        size=size,
        metrics={"accuracy": 0.9},
        promoted_at=12.0,
    )
    return file, about


@pytest.fixture
def folder(tmp_path: Path) -> ServingFolder:
    made = ServingFolder(tmp_path / "srv" / "model")
    made.prepare()
    return made


def test_a_version_and_what_is_said_of_it(folder: ServingFolder, tmp_path: Path) -> None:
    assert folder.current() is None
    file, one = version(tmp_path, 1)
    folder.place(file, one)
    assert folder.current() == one
    assert folder.former() is None
    assert folder.model.read_bytes() == file.read_bytes()
    said = json.loads((folder.path / "model.json").read_text())
    assert (said["task"], said["version"], said["sha256"]) == ("mnist", 1, one.sha256)
    assert (said["metrics"], said["promoted_at"]) == ({"accuracy": 0.9}, 12.0)
    assert stat.S_IMODE(folder.model.stat().st_mode) == 0o644
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "model.json",
        "model.safetensors",
    ]


def test_the_version_before_can_be_brought_back(folder: ServingFolder, tmp_path: Path) -> None:
    (first, one), (second, two), (third, three) = (version(tmp_path, n) for n in (1, 2, 3))
    folder.place(first, one)
    folder.place(second, two)
    assert (folder.current(), folder.former()) == (two, one)
    for _ in range(2):  # repeating changes nothing
        folder.bring_back(one)
        assert (folder.current(), folder.former()) == (one, one)
    folder.place(third, three)
    assert (folder.current(), folder.former()) == (three, one)
    file = folder.find(one.sha256)
    assert file == folder.before
    folder.place(file, one)  # rolled back at the server: its own copy is the source
    assert (folder.current(), folder.former()) == (one, three)


def test_wrong_bytes_change_nothing(folder: ServingFolder, tmp_path: Path) -> None:
    (first, one), (second, two) = version(tmp_path, 1), version(tmp_path, 2)
    folder.place(first, one)
    second.write_bytes(b"damaged")
    with pytest.raises(WrongBytes):
        folder.place(second, two)
    assert (folder.current(), folder.former()) == (one, None)
    assert not [path for path in folder.path.iterdir() if path.name.startswith(".")]


def test_a_file_that_was_changed_is_not_taken_for_the_version(
    folder: ServingFolder, tmp_path: Path
) -> None:
    file, one = version(tmp_path, 1)
    folder.place(file, one)
    folder.model.write_bytes(b"other")
    assert folder.current() is None
    folder.place(file, one)
    assert folder.current() == one
    (folder.path / "model.json").write_text("no JSON")
    assert folder.current() is None
    folder.place(folder.model, one)
    assert folder.current() == one


def test_what_a_killed_process_left_is_removed(folder: ServingFolder) -> None:
    (folder.path / ".model.safetensors.abc").write_bytes(b"half")
    (folder.path / "mine.txt").write_text("the owner's")
    folder.prepare()
    assert [path.name for path in folder.path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
def test_a_link_is_replaced_and_never_written_through(
    folder: ServingFolder, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("keep")
    folder.model.symlink_to(secret)
    file, one = version(tmp_path, 1)
    folder.place(file, one)
    assert secret.read_text() == "keep"
    assert not folder.model.is_symlink()
    assert not folder.before.exists()


def test_a_reader_never_sees_half_a_file(folder: ServingFolder, tmp_path: Path) -> None:
    versions = [version(tmp_path, number, 300_000) for number in (1, 2)]
    folder.place(*versions[0])
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add(hashlib.sha256(folder.model.read_bytes()).hexdigest())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(20):
        folder.place(*versions[(turn + 1) % 2])
    stop.set()
    reader.join()
    assert seen <= {about.sha256 for _, about in versions}
