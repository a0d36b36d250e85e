"""How values look on pages: units, times, states, pictures. Nothing from outside becomes markup."""

from __future__ import annotations

import math

import pytest
from markupsafe import escape

from fedops.core.states import DeploymentStatus, Enrolment, ProcessStatus, RunStatus
from fedops.server.dashboard.look import drawings, numbers, states, times
from fedops.server.dashboard.look.states import Tone
from fedops.server.dashboard.web.answers import own_path
from fedops.server.dashboard.web.templates import as_data


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_999, "1.0 MB"),
        (4_200_000_000, "4.2 GB"),
        (123_456_789, "123 MB"),
    ],
)
def test_sizes(value: float | None, text: str) -> None:
    assert numbers.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0.000"),
        (0.90712, "0.907"),
        (1234.5, "1,234.500"),
        (1e-9, "1.00e-09"),
        (math.nan, "nan"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


def test_metrics_that_are_shares_are_shown_in_percent() -> None:
    assert numbers.metric(0.907, "val_accuracy") == "90.7 %"
    assert numbers.metric(0.907, "loss") == "0.907"
    assert numbers.metric(None, "accuracy") == "–"
    assert numbers.percent(math.inf) == "–"
    assert numbers.short("0123456789abcdef") == "01234567"


def test_times_are_relative_with_the_exact_one_beside() -> None:
    text = str(times.ago(1_000_000.0, 1_000_240.0))
    assert ">4 min ago<" in text
    assert 'title="1970-01-12 13:46:40 UTC"' in text
    assert ">in 11 min<" in str(times.ago(1_000_660.0, 1_000_000.0))
    assert str(times.ago(None, 0.0)) == "–"
    assert times.span(0.13) == "0.1 s"
    assert times.span(96.4) == "96 s"


def test_every_state_has_a_tone_an_icon_and_its_word() -> None:
    for state in (*RunStatus, *ProcessStatus, *Enrolment, *DeploymentStatus):
        look = states.look_of(state)
        assert look.icon == states.ICONS[look.tone]
        assert look.word == state.value
    assert states.look_of(RunStatus.FAILED).tone is Tone.NOW
    assert states.look_of(RunStatus.RUNNING).tone is Tone.WORKING
    assert states.look_of(RunStatus.COMPLETED).tone is Tone.GOOD


def test_a_sparkline_has_gaps_and_no_single_point() -> None:
    assert str(drawings.sparkline([0.5], "x")).count("polyline") == 0
    drawn = str(drawings.sparkline([1.0, 2.0, None, 3.0, math.nan, 4.0], '"><b>'))
    assert drawn.count("<polyline") == 3
    assert "<b>" not in drawn


def test_data_for_scripts_cannot_end_their_element() -> None:
    text = str(as_data({"name": "</script><b>&"}))
    assert "<" not in text
    assert ">" not in text
    assert escape(as_data([1])) == "[1]"
    with pytest.raises(ValueError):
        as_data(math.nan)


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil", "https://evil.example", "", "runs", "/a\nb"]
)
def test_only_paths_of_ours_are_gone_back_to(path: str) -> None:
    assert own_path(path) == "/"
    assert own_path("/runs/7?tab=logs") == "/runs/7?tab=logs"
