"""The long poll: what is asked, how often, and what a change of reachability does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fedops.api_client import TryLater, WorkClient
from fedops.client.manager.server_connection import ServerConnection
from fedops.client.work.reachability import Over, Reachability
from fedops.core.contracts import HeldAssignment, Stage, Work, WorkPoll
from fedops.core.errors import Conflict, FedOpsError, Forbidden, Unavailable


class Server:
    """Answers polls as it is told; keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.progress: list[str] = []
        self.answer: Callable[[dict[str, Any]], httpx.Response] = self.calm
        self.revision = 1

    def __call__(self, request: httpx.Request) -> httpx.Response:
        import json

        body = json.loads(request.content)
        if request.url.path.endswith("/progress"):
            self.progress.append(body["stage"])
            return httpx.Response(204)
        self.asked.append(body)
        return self.answer(body)

    def calm(self, body: dict[str, Any]) -> httpx.Response:
        """Nothing new: the answer comes after the wait, which is short here."""
        time.sleep(min(body["wait"], 0.05))
        return self.work()

    def work(self, **more: Any) -> httpx.Response:
        fixed = {"revision": self.revision, "enrolment": "approved", "poll_seconds": 0.05}
        return httpx.Response(200, json={**fixed, **more})


class Bench:
    def __init__(self) -> None:
        self.server = Server()
        self.reach = Reachability("http://s")
        self.held: list[HeldAssignment] = []
        self.heard: list[Work] = []
        self.refused: list[FedOpsError] = []
        self.new = False
        self.mistakes: list[Exception] = []
        transport = httpx.MockTransport(self.server)
        self.connection = ServerConnection(
            WorkClient("http://s", token="t", transport=transport),
            WorkClient("http://s", token="t", transport=transport),
            self.reach,
            lambda after, wait: WorkPoll(held=self.held, after=after, wait=wait),
            self.take,
            self.refused.append,
        )

    def take(self, work: Work) -> bool:
        self.heard.append(work)
        if self.mistakes:
            raise self.mistakes.pop()
        return self.new

    def run(self, seconds: float) -> None:
        self.connection.start()
        time.sleep(seconds)
        self.connection.stop()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_first_poll_is_answered_at_once_and_the_others_tell_what_is_known(bench: Bench) -> None:
    bench.run(0.5)
    afters = [body["after"] for body in bench.server.asked]
    assert afters[0] == -1
    assert set(afters[1:]) == {1}
    assert bench.server.asked[0]["wait"] == 4.0
    assert bench.server.asked[-1]["wait"] == 0.05
    assert bench.reach.reach.reachable


def test_an_answer_that_brings_nothing_new_is_not_asked_for_again_and_again(bench: Bench) -> None:
    offer = {"id": "a" * 32, "kind": "train", "task": "t", "seconds_left": 9.0}
    bench.server.answer = lambda _: bench.server.work(offers=[offer])
    bench.run(1.0)
    assert len(bench.server.asked) <= 3


def test_work_that_is_done_ends_that_pause(bench: Bench) -> None:
    bench.server.answer = lambda _: bench.server.work()
    bench.connection.start()
    time.sleep(0.3)
    before = len(bench.server.asked)
    bench.connection.work_done()
    time.sleep(0.3)
    bench.connection.stop()
    assert len(bench.server.asked) == before + 1


def test_what_brings_something_is_asked_for_at_once(bench: Bench) -> None:
    bench.new = True
    bench.server.answer = lambda _: bench.server.work()
    bench.run(0.3)
    assert len(bench.server.asked) > 10


def test_news_goes_beside_the_long_poll(bench: Bench) -> None:
    gate = threading.Event()

    def answer(body: dict[str, Any]) -> httpx.Response:
        if body["wait"] and body["after"] != -1:
            gate.wait(5)
        return bench.server.work()

    bench.server.answer = answer
    bench.connection.start()
    time.sleep(0.2)
    bench.connection.tell_now()
    time.sleep(0.2)
    gate.set()
    bench.connection.stop()
    assert [body["wait"] for body in bench.server.asked][-1] == 0.0


def test_a_stage_that_lasts_is_told(bench: Bench) -> None:
    gate = threading.Event()

    def answer(body: dict[str, Any]) -> httpx.Response:
        if body["after"] != -1:
            gate.wait(5)
        return bench.server.work()

    bench.server.answer = answer
    bench.connection.start()
    time.sleep(0.2)
    bench.held = [HeldAssignment(id="a" * 32, stage=Stage.TRAINING, done=1, total=5)]
    time.sleep(1.5)
    gate.set()
    bench.connection.stop()
    assert bench.server.progress == ["training"]


def test_polls_get_shorter_when_something_on_the_way_cuts_them(bench: Bench) -> None:
    def answer(body: dict[str, Any]) -> httpx.Response:
        if body["after"] == -1:
            return bench.server.work(poll_seconds=20.0)
        time.sleep(1.2)
        raise httpx.RemoteProtocolError("the proxy closed the connection")

    bench.server.answer = answer
    bench.run(2.6)
    assert [body["wait"] for body in bench.server.asked[1:3]] == [20.0, pytest.approx(1.0)]


@pytest.mark.parametrize("status", [401, 403, 404, 426])
def test_a_server_that_wants_nothing_of_it_is_told(bench: Bench, status: int) -> None:
    kind = {404: "not_found", 426: "invalid"}.get(status, "forbidden")
    body = {"kind": kind, "error": "E", "message": "no"}
    bench.server.answer = lambda _: httpx.Response(status, json=body)
    bench.run(0.2)
    assert bench.refused
    assert bench.refused[0].message == "no"


# --- trying again ------------------------------------------------------------------------------


def test_a_change_of_reachability_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reach = Reachability("http://s")
    for error in ("away", "still away"):
        reach.failed(Unavailable(error))
    assert reach.reach.problem == "still away"
    for _ in range(3):
        reach.answered()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_call_is_repeated_until_it_is_answered() -> None:
    answers: list[Any] = [Unavailable("away"), FedOpsError("500"), TryLater("busy", 0.0), 3]
    said: list[str] = []

    def call() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    def waiting(error: FedOpsError) -> None:
        said.append(error.message)
        threading.Timer(0.05, reach.answered).start()

    reach = Reachability("http://s")
    reach.failed(Unavailable("away"))
    assert reach.insist(call, lambda: False, waiting) == 3
    assert said == ["away", "500", "busy"]


@pytest.mark.parametrize("error", [Conflict("it is over"), Forbidden("revoked")])
def test_what_trying_again_cannot_mend_is_raised(error: FedOpsError) -> None:
    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        Reachability("http://s").insist(call, lambda: False)


def test_who_is_not_wanted_any_more_does_not_wait() -> None:
    over = threading.Event()
    reach = Reachability("http://s")

    def call() -> None:
        threading.Timer(0.05, lambda: (over.set(), reach.wake())).start()
        raise TryLater("busy", 30.0)

    begin = time.monotonic()
    with pytest.raises(Over):
        reach.insist(call, over.is_set)
    assert time.monotonic() - begin < 5


def test_a_mistake_of_ours_silences_no_device(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.mistakes = [ValueError("spool_records: -1")]
    bench.connection.start()
    deadline = time.monotonic() + 10.0
    while len(bench.heard) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    bench.connection.stop()
    assert len(bench.heard) >= 4
    assert bench.refused == []
    assert "spool_records: -1" in caplog.text
