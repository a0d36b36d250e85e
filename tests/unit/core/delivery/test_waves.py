"""What follows in a rollout: the next wave, a stop, a pause, or waiting."""

from __future__ import annotations

from typing import Literal

import pytest

from fedops.core.delivery.waves import (
    Others,
    Placed,
    Share,
    StepKind,
    Verdict,
    WaveRules,
    first_wave,
    next_step,
)

RULES = WaveRules(judged_seconds=10.0, wave_seconds=100.0)
MANY = tuple(f"d{number}" for number in range(9))


def _placed(device: str, verdict: Verdict, seconds: float = 60.0, wave: int = 1) -> Placed:
    return Placed(device, wave, verdict, seconds=seconds)


@pytest.mark.parametrize(
    ("text", "count", "wanted"),
    [("1", 5, 1), ("9", 5, 5), ("10%", 5, 1), ("50%", 5, 3), ("100%", 5, 5), ("1", 0, 0)],
)
def test_a_share_is_one_device_at_least_where_there_is_one(
    text: str, count: int, wanted: int
) -> None:
    assert Share.parse(text).of(count) == wanted


@pytest.mark.parametrize("text", ["0", "101%", "-1", "many", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"share|invalid literal"):
        Share.parse(text)


def test_the_canary_is_one_device_that_is_there() -> None:
    step = next_step(RULES, 0, [], Others(("a", "b"), ("gone",)), 0.0)
    assert (step.kind, step.devices) == (StepKind.NEXT, ("a",))
    half = WaveRules(canary=Share(50, percent=True))
    assert next_step(half, 0, [], Others(("a",), ("x", "y", "z")), 0.0).devices == ("a",)


def test_the_canary_may_be_those_with_a_tag() -> None:
    rules = WaveRules(canary=first_wave("tag:ward"))
    left = Others(("a", "b", "c"), ("d",), frozenset({"b", "c", "d"}))
    step = next_step(rules, 0, [], left, 0.0)
    assert (step.kind, step.devices) == (StepKind.NEXT, ("b", "c"))
    away = next_step(rules, 0, [], Others(("a",), ("d",), frozenset({"d"})), 0.0)
    assert away.kind is StepKind.WAIT
    assert away.why == "no device with tag 'ward', which is to be first, is there"
    nobody = next_step(rules, 0, [], Others(("a",)), 0.0)
    assert "'fedops device tag NAME ward'" in nobody.why
    assert first_wave("25%") == Share(25, percent=True)


def test_it_waits_for_the_first_device_and_holds_where_there_is_none() -> None:
    assert next_step(RULES, 0, [], Others((), ("gone",)), 1e6).kind is StepKind.WAIT
    assert next_step(RULES, 0, [], Others(), 0.0).kind is StepKind.HOLD


def test_a_wave_is_judged_over_time() -> None:
    soon = next_step(RULES, 1, [_placed("a", Verdict.GOOD, 4.0)], Others(MANY), 5.0)
    assert (soon.kind, soon.why) == (StepKind.WAIT, "wave 1 is well, and is watched for 6 s more")
    then = next_step(RULES, 1, [_placed("a", Verdict.GOOD, 10.0)], Others(MANY), 11.0)
    assert (then.kind, then.devices) == (StepKind.NEXT, MANY)


@pytest.mark.parametrize("wave", [1, 2])
def test_one_bad_device_of_any_wave_stops_it(wave: int) -> None:
    placed = [_placed("a", Verdict.GOOD), Placed("b", wave, Verdict.BAD, "no module x")]
    step = next_step(RULES, 2, placed, Others(MANY), 0.0)
    assert (step.kind, step.why) == (StepKind.STOP, "b: no module x")


def test_a_wave_that_stays_unclear_pauses() -> None:
    going = [Placed("a", 1, Verdict.GOING, "preparing")]
    assert next_step(RULES, 1, going, Others(MANY), 99.0).kind is StepKind.WAIT
    step = next_step(RULES, 1, going, Others(MANY), 100.0)
    assert step.kind is StepKind.PAUSE
    assert step.why == "wave 1 is neither well nor failed after 100 s: a (preparing)"


def test_a_stalled_canary_pauses_once_that_lasts_and_again_after_it_was_let_go_on() -> None:
    stalled = [Placed("a", 1, Verdict.STALLED, "its disk is full", 50.0)]
    assert next_step(RULES, 1, stalled, Others(MANY), 50.0).kind is StepKind.PAUSE
    assert next_step(RULES, 1, stalled, Others(MANY), 3.0).kind is StepKind.WAIT


def test_a_few_that_are_stalled_or_late_hold_up_nobody() -> None:
    wave = [_placed(name, Verdict.GOOD) for name in "abc"] + [_placed("x", Verdict.STALLED)]
    step = next_step(RULES, 1, wave, Others(MANY), 20.0)
    assert (step.kind, step.why) == (StepKind.NEXT, "wave 1 is well, but for x")
    late = [*wave, _placed("y", Verdict.GOING)]
    assert next_step(RULES, 1, late, Others(MANY), 20.0).kind is StepKind.WAIT
    assert next_step(RULES, 1, late, Others(MANY), 100.0).kind is StepKind.NEXT
    half = [_placed("a", Verdict.GOOD), _placed("x", Verdict.STALLED)]
    assert next_step(RULES, 1, half, Others(MANY), 20.0).kind is StepKind.PAUSE


def test_who_is_away_is_no_failure_and_is_not_waited_for() -> None:
    wave = [_placed("a", Verdict.GOOD), _placed("b", Verdict.AWAY)]
    assert next_step(RULES, 1, wave, Others(MANY), 20.0).kind is StepKind.NEXT
    only = [_placed("a", Verdict.GOOD)]
    step = next_step(RULES, 1, only, Others((), ("gone",)), 20.0)
    assert step.kind is StepKind.HOLD, "a wave of devices that are away would never be well"
    assert step.why.endswith("who is away gets it when it is back")


def test_a_canary_that_went_away_is_unclear_in_the_end() -> None:
    away = [_placed("a", Verdict.AWAY)]
    assert next_step(RULES, 1, away, Others(MANY), 99.0).kind is StepKind.WAIT
    step = next_step(RULES, 1, away, Others(MANY), 100.0)
    assert (step.kind, step.why) == (
        StepKind.PAUSE,
        "wave 1: no device of it has been there for 100 s",
    )


def test_who_comes_while_everybody_is_asked_makes_no_further_wave() -> None:
    placed = [_placed("a", Verdict.GOOD), _placed("b", Verdict.GOOD, wave=2)]
    assert next_step(RULES, 2, placed, Others(("new",)), 20.0).kind is StepKind.HOLD
    slow = WaveRules(judged_seconds=10.0, further=Share(1))
    assert next_step(slow, 2, placed, Others(("new",)), 20.0).kind is StepKind.NEXT


@pytest.mark.parametrize(
    ("approval", "wave", "asks"),
    [("never", 1, False), ("canary", 0, False), ("canary", 1, True), ("canary", 2, False)]
    + [("each", 0, True), ("each", 1, True), ("each", 2, True)],
)
def test_before_which_waves_a_person_is_asked(
    approval: Literal["never", "canary", "each"], wave: int, asks: bool
) -> None:
    rules = WaveRules(approval=approval, further=Share(1))
    placed = [_placed("a", Verdict.GOOD, wave=wave)] if wave else []
    step = next_step(rules, wave, placed, Others(MANY), 20.0)
    assert (step.kind is StepKind.ASK) is asks
    allowed = next_step(rules, wave, placed, Others(MANY), 20.0, approved=wave + 1)
    assert allowed.kind is StepKind.NEXT


def test_who_is_away_gets_nothing_without_the_approval_that_is_asked_for() -> None:
    rules = WaveRules(approval="canary")
    placed = [_placed("a", Verdict.GOOD)]
    assert next_step(rules, 1, placed, Others((), ("gone",)), 20.0).kind is StepKind.ASK
    allowed = next_step(rules, 1, placed, Others((), ("gone",)), 20.0, approved=2)
    assert allowed.kind is StepKind.HOLD


def test_a_person_may_let_an_unclear_wave_pass_but_no_failed_one() -> None:
    stalled = [Placed("a", 1, Verdict.STALLED, "its disk is full", 500.0)]
    assert next_step(RULES, 1, stalled, Others(MANY), 500.0, approved=2).kind is StepKind.NEXT
    bad = [Placed("a", 1, Verdict.BAD, "no")]
    assert next_step(RULES, 1, bad, Others(MANY), 500.0, approved=2).kind is StepKind.STOP


def test_waves_of_a_share_reach_everybody() -> None:
    """However the share is rounded, it ends."""
    rules, left, waves = WaveRules(further=Share(10, percent=True)), list(range(100)), 0
    while left:
        placed = [_placed("x", Verdict.GOOD, wave=waves)] if waves else []
        step = next_step(rules, waves, placed, Others([str(one) for one in left]), 20.0)
        assert step.kind is StepKind.NEXT
        left, waves = left[len(step.devices) :], waves + 1
    assert waves < 50
