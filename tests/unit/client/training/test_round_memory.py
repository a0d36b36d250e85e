"""Checkpoints and device state: kept per round, never half, never in the way of training."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedops.client.training import round_memory
from fedops.client.training.round_memory import RoundStore
from fedops.storage.tensors import Tensors


class Events:
    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str, text: str, **data: Any) -> None:
        self.names.append(name)


def model(value: float) -> Tensors:
    return {"w": np.full(4, value, dtype=np.float32)}


def value(tensors: Tensors | None) -> float | None:
    return None if tensors is None else float(tensors["w"][0])


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def files(tmp_path: Path, events: Events) -> RoundStore:
    return RoundStore(tmp_path / "rounds", events)


def test_a_repeated_round_starts_from_the_state_before_it(files: RoundStore) -> None:
    assert files.load_state(7, 1) is None
    files.save_state(7, 1, model(1))
    files.save_state(7, 2, model(2))
    assert value(files.load_state(7, 2)) == 1
    assert value(files.load_state(7, 3)) == 2
    assert value(files.load_state(7, 9)) == 2
    assert files.load_state(7, 1) is None
    assert files.load_state(8, 3) is None


def test_saving_a_round_again_replaces_it(files: RoundStore, tmp_path: Path) -> None:
    files.save_state(7, 1, model(1))
    files.save_state(7, 1, model(5))
    assert value(files.load_state(7, 2)) == 5
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_old_states_checkpoints_and_runs_are_pruned(files: RoundStore, tmp_path: Path) -> None:
    for run in range(1, 9):
        for round_ in range(1, 6):
            files.save_state(run, round_, model(round_))
            files.save_checkpoint("mnist", run, round_, model(round_))
    files.flush()
    runs = sorted(path.name for path in (tmp_path / "rounds" / "state").iterdir())
    assert runs == [f"run-{n:08d}" for n in range(4, 9)]
    assert value(files.load_state(8, 4)) == 3
    assert files.load_state(8, 3) is None
    assert len(list((tmp_path / "rounds" / "checkpoints" / "mnist").iterdir())) == 2


def test_checkpoints_come_newest_first_and_per_task(files: RoundStore) -> None:
    files.save_checkpoint("mnist", 1, 9, model(9))
    files.flush()
    files.save_checkpoint("mnist", 2, 1, model(1))
    files.flush()
    files.save_checkpoint("other", 3, 1, model(3))
    assert [value(t) for t in files.load_checkpoint("mnist")] == [1, 9]
    assert files.load_checkpoint("none") == []


def damage_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def damage_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [damage_end, damage_middle, Path.unlink])
def test_a_damaged_file_is_skipped_with_an_event(
    files: RoundStore, events: Events, tmp_path: Path, damage: Any
) -> None:
    files.save_checkpoint("mnist", 1, 1, model(1))
    files.flush()
    files.save_checkpoint("mnist", 1, 2, model(2))
    files.flush()
    newest = max(tmp_path.rglob("*.safetensors"))
    damage(newest)
    assert [value(t) for t in files.load_checkpoint("mnist")] == [1]
    assert events.names == (["file_damaged"] if newest.exists() else [])


def test_a_full_disk_leaves_the_one_before_and_goes_on(
    files: RoundStore, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save_checkpoint("mnist", 1, 1, model(1))
    files.flush()

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(round_memory, "write_atomic", full)
    files.save_checkpoint("mnist", 1, 2, model(2))
    files.flush()
    files.save_state(1, 2, model(2))
    assert events.names == ["checkpoint_not_saved", "state_not_saved"]
    assert [value(t) for t in files.load_checkpoint("mnist")] == [1]


def test_what_a_killed_process_left_half_written_is_removed(
    tmp_path: Path, events: Events, files: RoundStore
) -> None:
    files.save_checkpoint("mnist", 1, 1, model(1))
    files.flush()
    half = tmp_path / "rounds" / "checkpoints" / "mnist" / ".run-1.safetensors.x7"
    half.write_bytes(b"half")
    again = RoundStore(tmp_path / "rounds", events)
    assert not half.exists()
    assert len(again.load_checkpoint("mnist")) == 1


def test_nobody_waits_for_a_checkpoint_and_the_newest_wins(
    files: RoundStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, written = threading.Event(), []
    real = round_memory.write_atomic

    def slow(path: Path, data: bytes) -> None:
        assert gate.wait(10)
        written.append(path.name[:22])
        real(path, data)

    monkeypatch.setattr(round_memory, "write_atomic", slow)
    for round_ in range(1, 6):
        files.save_checkpoint("mnist", 1, round_, model(round_))
    assert written == []
    gate.set()
    assert value(files.load_checkpoint("mnist")[0]) == 5
    assert len(written) <= 2
