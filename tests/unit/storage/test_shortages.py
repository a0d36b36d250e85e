"""What is remembered of what a machine lacked."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from fedops.core.reasons.shortages import Lack, Shortage
from fedops.storage.shortages import Shortages

FULL = Shortage(Lack.DISK, "/var")
MUTE = Shortage(Lack.DISK, "/var/fedops.db", stops_writing=True)


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_shortage_is_remembered_for_a_while() -> None:
    clock = _Clock()
    found = Shortages(clock)
    assert found.current is None
    found.note(FULL)
    clock.now += 14.0
    assert found.current == FULL
    clock.now += 2.0
    assert found.current is None


def test_the_last_that_was_met_is_the_current_one() -> None:
    clock = _Clock()
    found = Shortages(clock)
    found.note(FULL)
    clock.now += 1.0
    found.note(MUTE)
    assert found.current == MUTE
    clock.now += 4.0
    found.mended(MUTE.where)
    assert found.current == FULL
    found.forget()
    assert found.current is None


def test_how_long_nothing_could_be_noted() -> None:
    clock = _Clock()
    found = Shortages(clock)
    found.note(FULL)
    assert found.unwritten_seconds == 0.0, "rows can be written"
    for _ in range(4):
        found.note(MUTE)
        clock.now += 10.0
    assert found.unwritten_seconds == 40.0
    found.note(MUTE)
    found.mended(MUTE.where)
    assert found.unwritten_seconds == 40.0, "something small went well beside it"
    clock.now += 4.0
    found.mended(MUTE.where)
    assert found.unwritten_seconds == 0.0


def test_a_shortage_that_comes_again_begins_anew() -> None:
    clock = _Clock()
    found = Shortages(clock)
    found.note(MUTE)
    clock.now += 60.0
    assert found.unwritten_seconds == 0.0
    found.note(replace(MUTE, lack=Lack.DATABASE))
    clock.now += 3.0
    assert found.unwritten_seconds == 3.0


LOCKED = Shortage(Lack.DATABASE, "/var/fedops.db", stops_writing=True)


def test_what_is_waited_for_long_is_missing_since_the_waiting_began() -> None:
    clock = _Clock()
    found = Shortages(clock)
    with found.awaiting(LOCKED):
        clock.now += 2.0
        assert found.current is None, "others may write for a moment"
        clock.now += 4.0
        assert (found.current, found.unwritten_seconds) == (LOCKED, 6.0)
    assert (found.current, found.unwritten_seconds) == (None, 0.0)


def fail_after(found: Shortages, shortage: Shortage, clock: _Clock, seconds: float) -> None:
    with contextlib.suppress(TimeoutError), found.awaiting(shortage):
        clock.now += seconds
        raise TimeoutError


def test_what_was_waited_for_in_vain_stays_missing() -> None:
    clock = _Clock()
    found = Shortages(clock)
    fail_after(found, LOCKED, clock, 15.0)
    found.note(LOCKED)
    clock.now += 1.0
    assert (found.current, found.unwritten_seconds) == (LOCKED, 16.0)
    fail_after(found, replace(LOCKED, where="/other"), clock, 0.0)
    assert found.current == LOCKED, "what fails at once is something else"
