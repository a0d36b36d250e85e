"""Windows by cron: deny wins, and the reason says until when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fedops.core.contracts import Windows
from fedops.core.errors import Invalid
from fedops.server.delivery.rollouts.windows import reason_to_hold, require_readable

NIGHT = {"cron": "0 22 * * *", "minutes": 240}
WEEKEND = {"cron": "0 0 * * 6", "minutes": 2 * 24 * 60}


def _at(text: str) -> float:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _until(windows: Windows, text: str) -> str:
    return reason_to_hold(windows, _at(text)).rpartition("until ")[2]


def test_without_windows_nothing_is_in_the_way() -> None:
    assert reason_to_hold(Windows(), 0.0) == ""


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-03-02 21:59:59", "2026-03-02 22:00 UTC"),
        ("2026-03-02 22:00:00", ""),
        ("2026-03-03 01:59:59", ""),
        ("2026-03-03 02:00:00", "2026-03-03 22:00 UTC"),
    ],
)
def test_an_allowed_window_begins_and_ends(at: str, until: str) -> None:
    windows = Windows.model_validate({"allow": [NIGHT]})
    assert _until(windows, at) == until


def test_deny_wins_and_the_reason_looks_beyond_it() -> None:
    windows = Windows.model_validate({"allow": [NIGHT], "deny": [WEEKEND]})
    friday, saturday = "2026-03-06 23:00", "2026-03-07 00:30"
    assert _until(windows, friday) == ""
    assert _until(windows, saturday) == "2026-03-09 00:00 UTC", "Sunday's night goes on then"


def test_denied_alone_is_allowed_at_all_other_times() -> None:
    windows = Windows.model_validate({"deny": [{"cron": "0 8 * * 1-5", "minutes": 600}]})
    assert _until(windows, "2026-03-04 12:00") == "2026-03-04 18:00 UTC"
    assert _until(windows, "2026-03-04 18:00") == ""


def test_it_goes_by_the_clock_of_its_zone_also_when_that_is_changed() -> None:
    windows = Windows.model_validate(
        {"allow": [{"cron": "0 12 * * *", "minutes": 60}], "zone": "Europe/Berlin"}
    )
    assert _until(windows, "2026-03-28 11:30") == ""
    assert _until(windows, "2026-03-29 10:30") == "", "summer time began in the night before"
    assert _until(windows, "2026-03-29 11:30") == "2026-03-30 12:00 Europe/Berlin"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"zone": "Mars/Olympus", "allow": [NIGHT]}, "there is no time zone 'Mars/Olympus'"),
        ({"allow": [{"cron": "every day", "minutes": 5}]}, "'every day' is no cron expression"),
        ({"allow": [{"cron": "61 * * * *", "minutes": 5}]}, "'61 \\* \\* \\* \\*' is no cron"),
        ({"deny": [{"cron": "0 0 31 2 *", "minutes": 5}]}, "'0 0 31 2 \\*' is no cron"),
    ],
)
def test_what_nobody_understands_is_said_and_holds(wrong: dict[str, Any], said: str) -> None:
    windows = Windows.model_validate(wrong)
    with pytest.raises(Invalid, match=said):
        require_readable(windows)
    assert reason_to_hold(windows, 0.0).startswith("nobody may switch: ")
