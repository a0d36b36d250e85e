"""Timeouts, and loops that wait."""

import itertools

import pytest

from fedops.core.errors import Conflict, Unavailable
from fedops.waiting import Timeout, outlast, wait_until


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_timeout_runs_from_when_it_is_made() -> None:
    clock = Clock()
    timeout = Timeout(2.5, clock=clock)
    assert (timeout.seconds_left, timeout.is_over) == (2.5, False)
    clock.now += 2.0
    assert (timeout.seconds_left, timeout.is_over) == (0.5, False)
    clock.now += 0.5
    assert (timeout.seconds_left, timeout.is_over) == (0.0, True)
    clock.now += 9.0
    assert (timeout.seconds_left, timeout.is_over) == (0.0, True)


def test_a_timeout_of_no_time_is_over_and_one_without_an_end_never_is() -> None:
    assert Timeout(0.0, clock=Clock()).is_over
    endless = Timeout(None, clock=Clock())
    assert (endless.seconds_left, endless.is_over) == (float("inf"), False)


def test_a_condition_is_asked_until_it_is_true() -> None:
    values = iter([None, "", "here", "later"])
    assert wait_until(lambda: next(values), 10.0, every=0.001) == "here"
    assert next(values) == "later"


def test_a_condition_is_asked_once_more_when_the_time_is_over() -> None:
    asked = itertools.count(1)
    assert wait_until(lambda: next(asked) and None, 0.02, every=60.0) is None
    assert next(asked) == 3, "at the beginning and at the end"


def test_no_time_is_enough_for_a_look() -> None:
    assert wait_until(lambda: "here", 0.0, every=5.0) == "here"
    assert wait_until(lambda: 0, 0.0, every=5.0) == 0


def failing(*errors: Exception) -> tuple[list[str], "itertools.chain[Exception | str]"]:
    return [], itertools.chain(errors, itertools.repeat("answer"))


def play(steps: "itertools.chain[Exception | str]") -> str:
    step = next(steps)
    if isinstance(step, Exception):
        raise step
    return step


def test_who_is_away_is_called_again_and_each_reason_is_said_once() -> None:
    said, steps = failing(Unavailable("away"), Unavailable("away"), Unavailable("busy"))
    pauses = iter([0.001, 0.002, 0.003, 0.004, 0.005])
    assert outlast(lambda: play(steps), 10.0, pauses=pauses, say=said.append) == "answer"
    assert said == ["away", "busy"]
    assert next(pauses) == 0.005


def test_who_stays_away_is_called_for_the_last_time_at_the_end() -> None:
    said, steps = failing(*(Unavailable(f"away {number}") for number in range(100)))
    with pytest.raises(Unavailable, match="away 1"):
        outlast(lambda: play(steps), 0.02, pauses=itertools.repeat(60.0), say=said.append)
    assert said == ["away 0"]


def test_another_error_is_not_waited_for() -> None:
    said, steps = failing(Conflict("no"))
    with pytest.raises(Conflict, match="no"):
        outlast(lambda: play(steps), 10.0, pauses=itertools.repeat(1.0), say=said.append)
    assert said == []
