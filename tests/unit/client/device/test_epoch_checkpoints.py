"""Trainings that are not done yet: kept by piece of work, checked before they are used, few."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from fedops.client.device.epoch_checkpoints import (
    VERSIONS,
    WORKS,
    EpochFiles,
    folder_name,
    forget_epochs,
)
from fedops.scalize.adapter.protocol import EpochCheckpoints, TrainingState


def opened(root: Path, work: str = "w", about: str = "a") -> EpochCheckpoints:
    found = EpochFiles(root).open(work, about)
    assert found is not None
    return found


def state(number: int) -> TrainingState:
    return TrainingState({"w": np.full(3, number, np.float32)}, {"done": number})


def done(root: Path, work: str = "w", about: str = "a") -> int | None:
    found = opened(root, work, about).begin()
    return None if found is None else int(found.values["done"])


def files(root: Path) -> list[Path]:
    return sorted(root.glob("*/*"))


def test_the_newest_is_gone_on_with(tmp_path: Path) -> None:
    assert done(tmp_path) is None
    for number in range(1, 5):
        opened(tmp_path).save(state(number))
    found = opened(tmp_path).begin()
    assert found is not None
    assert found.tensors["w"].tolist() == [4, 4, 4]
    assert found.values == {"done": 4}
    assert len(files(tmp_path)) == VERSIONS


def test_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    for number in (1, 2):
        opened(tmp_path).save(state(number))
    newest = files(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-2])
    assert done(tmp_path) == 1
    for path in files(tmp_path):
        path.write_bytes(b"")
    assert done(tmp_path) is None


def test_other_work_or_other_terms_do_not_get_it(tmp_path: Path) -> None:
    opened(tmp_path).save(state(1))
    assert done(tmp_path, work="x") is None
    assert done(tmp_path, about="two epochs") is None
    assert done(tmp_path) == 1


def test_what_is_done_with_goes(tmp_path: Path) -> None:
    for work in ("w", "x"):
        opened(tmp_path, work).save(state(1))
    forget_epochs(tmp_path, "w")
    forget_epochs(tmp_path, "never")
    assert (done(tmp_path), done(tmp_path, "x")) == (None, 1)


def test_few_pieces_of_work_are_kept(tmp_path: Path) -> None:
    for number in range(WORKS + 3):
        opened(tmp_path, f"work/{number}").save(state(number))
    assert len(list(tmp_path.iterdir())) == WORKS
    assert done(tmp_path, f"work/{WORKS + 2}") == WORKS + 2


def test_only_a_loop_that_has_begun_is_asked_to_save(tmp_path: Path) -> None:
    epochs = EpochFiles(tmp_path)
    assert not epochs.ask_to_save()
    found = epochs.open("w", "a")
    assert found is not None
    assert not epochs.ask_to_save()
    found.begin()
    assert epochs.ask_to_save()
    assert found.wanted
    epochs.close()
    assert not epochs.ask_to_save()


def test_a_disk_that_takes_no_more_costs_the_epoch_only(tmp_path: Path) -> None:
    (tmp_path / "epochs").write_text("a file in the way")
    kept = opened(tmp_path / "epochs" / "below")
    kept.save(state(1))
    assert kept.begin() is None


def test_work_without_a_key_is_not_kept(tmp_path: Path) -> None:
    assert EpochFiles(tmp_path).open("", "a") is None


@pytest.mark.parametrize("look", ["iterdir", "unlink", "rmdir"])
def test_who_forgets_and_who_saves_do_not_stumble_over_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """The other process is always just a bit faster: what is looked at is gone."""
    for number in range(WORKS + 1):
        opened(tmp_path, f"work/{number}").save(state(number))
    folders = {tmp_path / folder_name(f"work/{number}") for number in (0, 1)}
    real = getattr(Path, look)

    def too_late(path: Path, *args: object, **kwargs: object) -> object:
        for folder in folders & {path, path.parent}:
            shutil.rmtree(folder, ignore_errors=True)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, look, too_late)
    forget_epochs(tmp_path, "work/1")
    opened(tmp_path, "new").save(state(9))
    monkeypatch.undo()
    assert done(tmp_path, "new") == 9
    assert done(tmp_path, "work/1") is None


def test_two_threads_that_forget_and_save_at_once(tmp_path: Path) -> None:
    over = threading.Event()
    failed: list[Exception] = []

    def forget() -> None:
        while not over.is_set():
            for number in range(WORKS * 3):
                try:
                    forget_epochs(tmp_path, f"work/{number}")
                except OSError as error:
                    failed.append(error)

    thread = threading.Thread(target=forget)
    thread.start()
    try:
        for number in range(150):
            opened(tmp_path, f"work/{number % (WORKS * 3)}").save(state(number))
    finally:
        over.set()
        thread.join()
    assert failed == []
