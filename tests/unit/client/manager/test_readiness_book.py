"""The last work that a device could not do is remembered until something shows that it could now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fedops.client.local.messages import Finished
from fedops.client.manager.readiness import ReadinessBook
from fedops.client.work.held_assignments import Held
from fedops.core.contracts import ProcessReport
from fedops.core.states import ProcessStatus, ReadinessStatus

IDLE = ProcessReport(status=ProcessStatus.IDLE)


def tried(status: str, basis: str, reason: str = "", task: str = "mnist") -> Mapping[str, Any]:
    said = {"task": task, "status": status, "reason": reason}
    return {"kind": "readiness", "tasks": [said], "basis": basis}


class World:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "last-refusal.json"
        self.told = 0
        self.book = self.again()

    def again(self) -> ReadinessBook:
        return ReadinessBook(self.file, self._tell)

    def _tell(self) -> None:
        self.told += 1

    def end(self, outcome: Any, reason: str = "", task: str = "mnist") -> None:
        held = Held("a" * 32, "train", task, 3, 1, self.file.parent)
        self.book.ended(held, Finished(id=held.id, outcome=outcome, reason=reason))

    @property
    def reason(self) -> str | None:
        refusal = self.book.report(IDLE).refusal
        return refusal.reason if refusal else None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_is_said_how_each_task_was_tried_and_changes_are_told(world: World) -> None:
    world.book.take(tried("refused", "a", "no data"))
    world.book.take(tried("refused", "a", "no data"))
    (entry,) = world.book.report(IDLE).readiness
    assert (entry.task, entry.status, entry.reason) == ("mnist", ReadinessStatus.REFUSED, "no data")
    assert world.told == 1
    assert world.book.refuses
    world.book.take(tried("ready", "b"))
    assert world.told == 2
    assert not world.book.refuses


def test_what_a_training_client_said_that_is_gone_does_not_count(world: World) -> None:
    world.book.take(tried("refused", "a", "no data"))
    world.book.process(ProcessStatus.IDLE)
    assert world.book.report(IDLE).readiness
    world.book.process(ProcessStatus.STARTING)
    assert world.book.report(IDLE).readiness == []


def test_a_refusal_stays_until_the_task_is_done_again(world: World) -> None:
    world.book.take(tried("ready", "a"))
    world.end("refused", "no layer 'x'")
    world.book.take(tried("ready", "a"))  # nothing was changed, so it may well happen again
    assert world.reason == "no layer 'x'"
    world.end("done", task="cifar")
    world.end("cancelled")
    assert world.reason == "no layer 'x'"
    world.end("done")
    assert world.reason is None


def test_a_refusal_is_gone_when_all_is_ready_after_a_change(world: World) -> None:
    world.book.take(tried("ready", "a"))
    world.end("failed", "FileNotFoundError: x.npy")
    world.book.take(tried("refused", "without the folder", "no data"))
    world.book.take(tried("refused", "without the folder", "no data"))
    assert world.reason == "FileNotFoundError: x.npy"
    world.book.take(tried("ready", "a"))  # the same folder came back
    assert world.reason is None


def test_a_refusal_outlives_the_client_manager(world: World) -> None:
    world.book.take(tried("ready", "a"))
    world.end("refused", "no layer 'x'")
    world.book = world.again()
    refusal = world.book.report(IDLE).refusal
    assert refusal is not None
    assert (refusal.task, refusal.run_id, refusal.round) == ("mnist", 3, 1)
    world.book.take(tried("ready", "another app"))
    assert world.reason is None
    assert world.again().report(IDLE).refusal is None


def test_a_file_that_cannot_be_read_is_no_refusal(world: World) -> None:
    world.file.write_text("{")
    assert world.again().report(IDLE).refusal is None
