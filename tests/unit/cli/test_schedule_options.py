"""What people type for a schedule, understood or refused with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from fedops.cli.delivery.schedule_options import promotion_rule, seconds_of
from fedops.cli.delivery.schedules import app
from fedops.core.errors import Invalid


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1_800), ("1h30m", 5_400), ("1d", 86_400)]
)
def test_a_time_is_written_with_its_unit(text: str, seconds: float) -> None:
    assert seconds_of(text, "--every") == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "1x", "1h x"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="write a time such as 30m"):
        seconds_of(text, "--every")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("always", {"rule": "always"}),
        ("accuracy+0.01", {"metric": "accuracy", "margin": 0.01}),
        ("val-loss-0.5", {"metric": "val-loss", "margin": 0.5}),
        ("macro-f1", {"metric": "macro-f1", "margin": 0.0}),
    ],
)
def test_a_promotion_rule(text: str, rule: dict[str, Any]) -> None:
    assert promotion_rule(text) == rule


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "none was given"),
        (["--every", "1h", "--on-commit"], "not --every and --on-commit"),
        (["--every", "1h", "--zone", "UTC"], "--zone belongs to --cron"),
        (["--on-demand", "--look-every", "1h"], "--look-every belongs to"),
        (["--on-new-data", "some"], "a number of examples"),
        (["--on-drift", "accuracy"], "write accuracy=0.05 or psi=0.2"),
        (["--on-drift", "psi=0"], "psi"),
    ],
)
def test_a_schedule_has_one_trigger_that_makes_sense(options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["set", "mnist", "s", *options])
    assert isinstance(result.exception, Invalid)
    assert said in result.exception.message
