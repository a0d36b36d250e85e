from __future__ import annotations

import pytest

from fedops.explain.methods.time_budget import Budget, OutOfTime, Pace
from fedops.testing import FakeClock


def test_explaining_takes_its_share_and_no_more() -> None:
    """Rounds of 10 s; all of it takes 2 s, in brief 0.1 s: one in four or five may have all."""
    clock = FakeClock()
    pace = Pace(0.05, clock)
    spent, rich = 0.0, []
    for number in range(100):
        rich.append(pace.begin())
        cost = 2.0 if rich[-1] else 0.1
        pace.spend(cost)
        clock.advance(10.0)
        spent += cost
        assert number == 0 or spent <= 0.05 * clock_time(number) + 2.0
    assert rich[0], "the first is complete"
    assert 15 <= sum(rich) <= 25


def clock_time(rounds: int) -> float:
    return 10.0 * rounds


def test_long_rounds_are_always_complete() -> None:
    clock = FakeClock()
    pace = Pace(0.05, clock)
    for _ in range(10):
        assert pace.begin()
        pace.spend(2.0)
        clock.advance(60.0)


def test_a_long_pause_does_not_save_up_without_end() -> None:
    clock = FakeClock()
    pace = Pace(0.05, clock)
    assert pace.begin()
    clock.advance(1e6)
    assert pace.begin()
    pace.spend(5.5)
    assert not pace.begin()


def test_a_budget_ends() -> None:
    clock = FakeClock()
    budget = Budget(2.0, clock)
    budget.check()
    clock.advance(1.9)
    budget.check()
    clock.advance(0.1)
    with pytest.raises(OutOfTime):
        budget.check()
    assert budget.spent == pytest.approx(2.0)
