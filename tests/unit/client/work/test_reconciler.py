"""Work is handed over once, also to a training client that answers late."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal, cast

import pytest

from fedops.client.local.http import LocalClient, LocalServer, bind, make_app
from fedops.client.local.messages import Finished, WorkOrder
from fedops.client.supervision.supervisor import Supervisor
from fedops.client.work import reconciler as module
from fedops.client.work.held_assignments import AssignmentStore, Held
from fedops.client.work.reconciler import SLACK_SECONDS, Reconciler
from fedops.core.contracts import Instruction, Offer, ProcessReport
from fedops.core.states import ProcessStatus

ID = "a" * 32
Outcome = Literal["refused", "cancelled"]


class TrainingClient:
    """Takes the first order too late for who hands it over. Stands for its supervisor, too."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        self.outcomes = outcomes
        self.trainings = 0
        self.work_seconds: float | None = None
        self.pause = 0.4
        self.status = ProcessStatus.IDLE
        self.reconciler = Reconciler(cast(Supervisor, self), "token", lambda: False)
        app = make_app("late", "token")
        app.post("/work", status_code=202)(self.take)
        self.local = LocalServer(app, bind("127.0.0.1", 0))

    def report(self) -> ProcessReport:
        return ProcessReport(status=self.status)

    def take(self, _: WorkOrder) -> None:
        pause, self.pause = self.pause, 0.0
        time.sleep(pause)
        self.say(ProcessStatus.TRAINING)
        threading.Timer(0.3, self.finish).start()

    def finish(self) -> None:
        outcome = self.outcomes[min(self.trainings, len(self.outcomes) - 1)]
        self.trainings += 1
        self.reconciler.finished(Finished(id=ID, outcome=outcome, reason="said late"))
        self.say(ProcessStatus.IDLE)

    def say(self, status: ProcessStatus) -> None:
        self.status = status
        self.reconciler.changed(self.report())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[TrainingClient]]:
    monkeypatch.setattr(module, "LocalClient", partial(LocalClient, timeout=0.2))
    started: list[TrainingClient] = []
    yield started
    for client in started:
        client.say(ProcessStatus.STOPPED)
        client.local.stop()


def training_client(started: list[TrainingClient], *outcomes: Outcome) -> TrainingClient:
    client = TrainingClient(list(outcomes))
    client.local.start()
    client.reconciler.ready(client.local.port)
    started.append(client)
    return client


def work(folder: Path, seconds_left: float = 60.0) -> tuple[Held, WorkOrder]:
    content = {"version": 1, "records": {}}
    instruction = Instruction(
        id=ID, kind="train", task="t", content=content, seconds_left=seconds_left
    )
    store = AssignmentStore(folder)
    held = store.begin(Offer(id=ID, kind="train", task="t", seconds_left=seconds_left))
    store.accept(held, instruction)
    return held, WorkOrder(instruction=instruction, out=held.result)


def test_work_that_was_taken_late_is_not_done_again(
    tmp_path: Path, started: list[TrainingClient]
) -> None:
    client = training_client(started, "refused")
    assert client.reconciler.do(*work(tmp_path)).reason == "said late"
    time.sleep(0.8)
    assert client.trainings == 1


def test_work_that_was_taken_late_and_cancelled_is_done_again(
    tmp_path: Path, started: list[TrainingClient]
) -> None:
    client = training_client(started, "cancelled", "refused")
    assert client.reconciler.do(*work(tmp_path)).outcome == "refused"
    assert client.trainings == 2


def test_what_has_passed_of_the_time_for_the_work_is_not_given_again(
    tmp_path: Path, started: list[TrainingClient]
) -> None:
    client = training_client(started, "refused")
    client.pause = 0.0
    for passed, expected in ((0.0, 100.0), (70.0, 30.0), (500.0, 0.0)):
        held, order = work(tmp_path, seconds_left=100.0)
        held.instructed_at -= passed
        client.reconciler.do(held, order)
        assert client.work_seconds == pytest.approx(expected + SLACK_SECONDS, abs=5.0)


def test_the_time_for_the_work_counts_from_its_instruction(tmp_path: Path) -> None:
    store = AssignmentStore(tmp_path)
    held = store.begin(Offer(id=ID, kind="train", task="t", seconds_left=100.0))
    held.instructed_at -= 50.0  # so long nobody answered
    _, order = work(tmp_path, seconds_left=100.0)
    store.accept(held, order.instruction)
    assert held.seconds_left == pytest.approx(100.0, abs=5.0)
    (found,) = store.load()
    assert found.seconds_left == pytest.approx(100.0, abs=5.0)
