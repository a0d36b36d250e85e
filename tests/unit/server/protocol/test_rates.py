"""A bucket for each."""

from __future__ import annotations

import pytest

from fedops.server.protocol.rates import Rates
from fedops.testing import FakeClock


def test_a_minutes_worth_may_come_at_once_and_then_one_by_one() -> None:
    clock = FakeClock(0.0)
    rates = Rates(60.0, clock=clock)
    for _ in range(60):
        assert rates.wait("a") == 0.0
        rates.take("a")
    assert rates.wait("a") == pytest.approx(1.0)
    assert rates.wait("b") == 0.0
    clock.advance(1.5)
    assert rates.wait("a") == 0.0


def test_what_was_too_much_has_to_be_waited_for() -> None:
    clock = FakeClock(0.0)
    rates = Rates(60.0, burst=10.0, clock=clock)
    rates.take("a", 100.0)
    assert rates.wait("a") == pytest.approx(91.0)
    clock.advance(1e6)
    rates.take("a", 10.0)
    assert rates.wait("a") > 0.0  # it never holds more than the burst


def test_it_does_not_remember_everybody() -> None:
    clock = FakeClock(0.0)
    rates = Rates(60.0, clock=clock)
    for number in range(120_000):
        rates.take(str(number))
    assert len(rates._left) <= 50_000
