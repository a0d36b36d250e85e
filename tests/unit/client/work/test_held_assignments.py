"""What is held outlives the Client Manager: instruction, ending, result."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fedops.client.local.messages import Finished
from fedops.client.work.held_assignments import AssignmentStore
from fedops.core.contracts import Instruction, Offer, Stage
from fedops.storage.payloads import Payload, write_payload

INSTRUCTION = Instruction(
    id="a" * 32,
    kind="train",
    task="t",
    run_id=7,
    round=2,
    work_key="run-7-round-2-train-0",
    content={"version": 1, "records": {}},
    seconds_left=60.0,
)
OFFER = Offer(id="a" * 32, kind="train", task="t", run_id=7, round=2, seconds_left=60.0)


def test_an_offer_is_nothing_until_its_instruction_is_there(tmp_path: Path) -> None:
    store = AssignmentStore(tmp_path)
    held = store.begin(OFFER)
    assert store.load() == []
    store.accept(held, INSTRUCTION)
    (found,) = AssignmentStore(tmp_path).load()
    assert (found.id, found.instruction, found.finished) == (held.id, INSTRUCTION, None)
    assert found.work_key == "run-7-round-2-train-0"
    assert found.at_work


def test_how_it_ended_is_kept_until_it_is_removed(tmp_path: Path) -> None:
    store = AssignmentStore(tmp_path)
    held = store.begin(OFFER)
    store.accept(held, INSTRUCTION)
    store.finish(held, Finished(id=held.id, outcome="refused", reason="no data"))
    (found,) = store.load()
    assert found.finished == held.finished
    assert not found.at_work
    store.remove(found)
    assert store.load() == []


def test_a_result_that_nobody_was_told_of_is_found(tmp_path: Path) -> None:
    store = AssignmentStore(tmp_path)
    held = store.begin(OFFER)
    store.accept(held, INSTRUCTION)
    written = write_payload(Payload({"arrays": {"w": np.zeros(3)}}), held.result)
    (found,) = store.load()
    assert found.finished == Finished(
        id=held.id, outcome="done", sha256=written.sha256, size=written.size, found=True
    )
    store.again(found)
    (found,) = store.load()
    assert found.finished is None
    found.result.write_bytes(b"half of a res")
    (found,) = store.load()
    assert found.finished is None


def test_what_was_encoded_of_a_damaged_result_goes_with_it(tmp_path: Path) -> None:
    store = AssignmentStore(tmp_path)
    held = store.begin(OFFER)
    store.accept(held, INSTRUCTION)
    store.again(held)
    for path in (held.result, held.encoded):
        path.write_bytes(b"damaged")
    store.again(held)
    assert not held.result.exists()
    assert not held.encoded.exists()


def test_what_cannot_be_read_goes(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "assignment.json").write_text('{"instruction": 3}')
    assert AssignmentStore(tmp_path).load() == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_told_of_it(tmp_path: Path) -> None:
    held = AssignmentStore(tmp_path).begin(OFFER)
    assert held.report().stage is Stage.WAITING
    held.tell(Stage.DOWNLOADING, 10, 40)
    assert held.status().doing == "downloading 25 % of 40 B"
    held.tell(Stage.WAITING_TO_UPLOAD, text="x" * 900)
    assert len(held.report().text) == 200


def test_result_and_note_are_secured_and_their_names_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AssignmentStore(tmp_path)
    held = store.begin(OFFER)
    store.accept(held, INSTRUCTION)
    written = write_payload(Payload({"arrays": {"w": np.zeros(3)}}), held.result, durable=False)
    store.finish(
        held, Finished(id=held.id, outcome="done", sha256=written.sha256, size=written.size)
    )
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda file: synced.add(os.fstat(file).st_ino))
    store.secure(held)
    note = held.folder / "assignment.json"
    assert synced == {path.stat().st_ino for path in (held.result, note, held.folder)}


def test_what_is_delivered_already_need_not_be_secured(tmp_path: Path) -> None:
    store = AssignmentStore(tmp_path)
    held = store.begin(OFFER)
    store.accept(held, INSTRUCTION)
    store.remove(held)
    store.secure(held)
