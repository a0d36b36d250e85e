"""Which conditions of a device's owner are met: what is not known is not met."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedops.core.reasons.conditions import Circumstances, Conditions, unmet_conditions

WELL = Circumstances(on_mains=True, battery_percent=90.0, metered=False, memory_mb=8_000, minute=60)
ALL: dict[str, Any] = {
    "charging": True,
    "battery_percent": 50,
    "unmetered": True,
    "memory_mb": 2_000,
    "hours": "22:00-06:00",
}


@pytest.mark.parametrize(
    ("wanted", "now", "said"),
    [
        ("charging", {"on_mains": False}, "not charging"),
        ("charging", {"on_mains": None}, "whether it is charging is not known"),
        ("battery_percent", {"battery_percent": 49.9}, "battery below 50 %"),
        (
            "battery_percent",
            {"battery_percent": None, "on_mains": None},
            "how full its battery is is not known",
        ),
        ("unmetered", {"metered": True}, "on a metered network"),
        ("unmetered", {"metered": None}, "whether its network is metered is not known"),
        ("memory_mb", {"memory_mb": 1_999}, "less than 2000 MB of memory free"),
        ("memory_mb", {"memory_mb": None}, "how much memory is free is not known"),
        ("hours", {"minute": 6 * 60}, "outside its hours (22:00-06:00)"),
    ],
)
def test_each_condition_alone(wanted: str, now: dict[str, Any], said: str) -> None:
    alone, found = Conditions(**{wanted: ALL[wanted]}), replace(WELL, **now)
    assert unmet_conditions(alone, found) == [said]
    assert unmet_conditions(alone, WELL) == []
    others = Conditions(**{name: value for name, value in ALL.items() if name != wanted})
    assert said not in unmet_conditions(others, found)


def test_without_a_battery_it_is_on_mains_and_its_battery_never_low() -> None:
    desktop = Circumstances(on_mains=True, battery_percent=None)
    assert unmet_conditions(Conditions(charging=True, battery_percent=80), desktop) == []


def test_all_that_is_unmet_is_said() -> None:
    nothing_known = Circumstances(minute=12 * 60)
    assert len(unmet_conditions(Conditions(**ALL), nothing_known)) == 5


@given(
    st.builds(
        Circumstances,
        on_mains=st.none() | st.booleans(),
        battery_percent=st.none() | st.floats(0, 100),
        metered=st.none() | st.booleans(),
        memory_mb=st.none() | st.integers(0, 10**6),
        minute=st.integers(0, 1439),
    )
)
def test_who_asks_for_nothing_takes_work_always(now: Circumstances) -> None:
    assert unmet_conditions(Conditions(), now) == []


@pytest.mark.parametrize(
    ("hours", "within", "outside"),
    [
        ("22:00-06:00", [22 * 60, 0, 5 * 60 + 59], [6 * 60, 21 * 60 + 59]),
        ("09:30-17:00", [9 * 60 + 30, 16 * 60 + 59], [9 * 60 + 29, 17 * 60, 0]),
    ],
)
def test_hours_go_over_midnight(hours: str, within: list[int], outside: list[int]) -> None:
    wanted = Conditions(hours=hours)
    assert all(not unmet_conditions(wanted, Circumstances(minute=m)) for m in within)
    assert all(unmet_conditions(wanted, Circumstances(minute=m)) for m in outside)


@pytest.mark.parametrize("hours", ["22-6", "24:00-06:00", "08:60-09:00", "08:00-08:00", "always"])
def test_hours_that_are_none_are_refused(hours: str) -> None:
    with pytest.raises(ValidationError, match=r'such as "22:00-06:00"'):
        Conditions(hours=hours)
