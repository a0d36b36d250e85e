"""How often one may try to sign in."""

from __future__ import annotations

import pytest

from fedops.server.access import sign_in_limits
from fedops.server.access.sign_in_limits import Limit, SignInLimits, TooManyTries
from fedops.testing import FakeClock


def _limits(clock: FakeClock, address: int = 3, name: int = 2) -> SignInLimits:
    return SignInLimits(clock, Limit(address, 60.0), Limit(name, 60.0), Limit(4 * name, 60.0))


def test_failures_count_by_name_and_by_address() -> None:
    limits = _limits(FakeClock(1_000.0))
    limits.require_turn("1.1.1.1", "anna")
    limits.require_turn("1.1.1.1", "anna")
    with pytest.raises(TooManyTries):
        limits.require_turn("1.1.1.1", "anna")
    limits.require_turn("2.2.2.2", "anna")  # somebody else does not keep her out
    limits.require_turn("1.1.1.1", "carla")
    with pytest.raises(TooManyTries):
        limits.require_turn("1.1.1.1", "dora")
    limits.require_turn("2.2.2.2", "dora")


def test_from_everywhere_a_name_is_tried_more_often_and_not_without_end() -> None:
    limits = _limits(FakeClock(1_000.0))
    for number in range(8):
        limits.require_turn(f"1.1.1.{number}", "anna")
    with pytest.raises(TooManyTries):
        limits.require_turn("1.1.1.99", "anna")


def test_all_addresses_of_a_network_are_one() -> None:
    limits = _limits(FakeClock(1_000.0))
    for number in range(3):
        limits.require_turn(f"2001:db8::{number}", f"user-{number}")
    with pytest.raises(TooManyTries):
        limits.require_turn("2001:db8::ffff", "another")
    limits.require_turn("2001:db8:0:1::1", "another")


def test_what_was_forgiven_does_not_count() -> None:
    limits = _limits(FakeClock(1_000.0))
    for _ in range(9):
        limits.require_turn("1.1.1.1", "anna")
        limits.forgive("1.1.1.1", "anna")
    limits.require_turn("1.1.1.1", "anna")


def test_failures_are_forgotten_with_time_each_by_itself() -> None:
    clock = FakeClock(1_000.0)
    limits = _limits(clock)
    limits.require_turn("1.1.1.1", "anna")
    clock.advance(59)
    limits.require_turn("1.1.1.1", "anna")
    with pytest.raises(TooManyTries):
        limits.require_turn("1.1.1.1", "anna")
    clock.advance(1)
    limits.require_turn("1.1.1.1", "anna")
    with pytest.raises(TooManyTries):
        limits.require_turn("1.1.1.1", "anna")


def test_no_number_of_names_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_limits, "_MOST", 50)
    limits = _limits(FakeClock(1_000.0), address=10_000)
    for number in range(500):
        limits.require_turn("1.1.1.1", f"{number}" * 100)
    assert len(limits._failed) <= 50
    assert max(len(value) for _, value in limits._failed) <= 64 + len(" 1.1.1.1")
