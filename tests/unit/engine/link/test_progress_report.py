"""Progress is said by a thread of its own: the newest word, and again when nothing is new."""

import threading
import time

import pytest

from fedops.core.contracts import EngineProgress
from fedops.core.errors import Unavailable
from fedops.engine.link.progress_report import ProgressReport


def word(text: str) -> EngineProgress:
    return EngineProgress(phase="training", round=1, detail=text)


def until(said: list[EngineProgress], count: int) -> None:
    deadline = time.monotonic() + 10
    while len(said) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_was_overtaken_is_not_said() -> None:
    said: list[EngineProgress] = []
    held = threading.Event()

    def send(progress: EngineProgress) -> None:
        said.append(progress)
        held.wait(10)

    report = ProgressReport(send, interval=0.01)
    report.say(word("one"))
    until(said, 1)
    report.say(word("two"))
    report.say(word("three"))
    held.set()
    report.close()
    assert [each.detail for each in said] == ["one", "three"]


def test_the_same_is_said_once_and_again_as_a_sign_of_life() -> None:
    said: list[EngineProgress] = []
    report = ProgressReport(said.append, interval=0.01, again=0.3)
    for _ in range(5):
        report.say(word("one"))
    until(said, 1)
    time.sleep(0.1)
    assert len(said) == 1
    until(said, 2)
    report.close()
    assert {each.detail for each in said} == {"one"}


@pytest.mark.parametrize("again", [False, True])
def test_a_server_that_is_away_is_nothing_to_it(again: bool) -> None:
    said: list[str] = []

    def send(progress: EngineProgress) -> None:
        said.append(progress.detail)
        raise Unavailable("away")

    report = ProgressReport(send, interval=0.01)
    report.say(word("one"))
    if again:
        report.say(word("two"))
    report.close()
    assert said[-1] == ("two" if again else "one")
