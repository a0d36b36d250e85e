"""What is remembered of what a machine lacked."""

from __future__ import annotations

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
