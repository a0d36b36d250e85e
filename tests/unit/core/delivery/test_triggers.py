"""When a schedule fires: ticks, data, drift; and which version is promoted."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from fedops.core.contracts import Cron, Every, OnDemand, OnDrift, OnNewData, PromotionRule
from fedops.core.delivery.groups import in_group, outside_group
from fedops.core.delivery.promotions import decide
from fedops.core.delivery.triggers import (
    DriftState,
    cron_is_astray,
    drift_step,
    every_is_astray,
    is_late,
    next_of_every,
    weighted_mean,
    when_text,
    worse_by,
)
from fedops.core.quality_gate import GateRule
from fedops.server.delivery.schedules.cron import next_tick

BERLIN = ZoneInfo("Europe/Berlin")


# --- the clock -------------------------------------------------------------------------------


def ticks(expression: str, after: datetime, count: int) -> list[str]:
    cron, at, found = Cron(expression=expression, zone="Europe/Berlin"), after.timestamp(), []
    for _ in range(count):
        at = next_tick(cron, at)
        found.append(datetime.fromtimestamp(at, BERLIN).isoformat())
    return found


def test_half_past_two_in_spring_comes_once_at_three() -> None:
    assert ticks("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=BERLIN), 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_half_past_two_in_autumn_comes_once() -> None:
    assert ticks("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=BERLIN), 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_ticks_keep_their_distance_however_late_they_are_seen() -> None:
    assert next_of_every(100, 60, 100) == (160, 1)
    assert next_of_every(100, 60, 159.9) == (160, 1)
    assert next_of_every(100, 60, 160) == (220, 2)
    assert not is_late(100, 160)
    assert is_late(100, 160.1)


def test_a_clock_that_was_set_back_is_noticed() -> None:
    assert not every_is_astray(160, 60, 100)
    assert every_is_astray(160, 60, 99)
    assert not cron_is_astray(None, 0)
    assert not cron_is_astray(3_600, 0), "an hour brings no tick back"
    assert cron_is_astray(100_000, 0)


# --- drift -----------------------------------------------------------------------------------


def test_drift_fires_once_for_one_change_and_again_for_the_next() -> None:
    state, fired = DriftState(3), []
    for version, value in (
        (3, 0.19),
        (3, 0.2),
        (3, 0.3),  # the same change
        (3, 0.41),  # as much once more
        (3, 0.1),  # it is over
        (3, 0.25),
        (4, 0.25),  # of another version
        (4, 0.26),
    ):
        fires, state = drift_step(state, version, value, 0.2)
        fired.append(fires)
    assert fired == [False, True, False, True, False, True, True, False]


def test_worse_is_more_of_a_loss_and_less_of_anything_else() -> None:
    assert worse_by("val_loss", 0.5, 0.75) == 0.25
    assert worse_by("f1", 0.5, 0.75) == -0.25
    assert weighted_mean([(1.0, 30), (0.0, 10)]) == 0.75
    assert weighted_mean([]) is None


# --- words and contracts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (Every(seconds=90), "every 1 min 30 s"),
        (OnNewData(), "when the data of a device has changed"),
        (OnNewData(examples=5), "when the devices have 5 examples more"),
        (
            OnDrift(metric="loss", worse_by=0.5),
            "when loss is worse by 0.5 on the devices' data",
        ),
        (OnDemand(), "on demand"),
    ],
)
def test_a_trigger_in_words(trigger: Every | OnNewData | OnDrift | OnDemand, words: str) -> None:
    assert when_text(trigger) == words


def test_drift_has_one_measure() -> None:
    for mistake in ({}, {"metric": "loss"}, {"metric": "loss", "worse_by": 1, "psi": 0.2}):
        with pytest.raises(ValidationError):
            OnDrift.model_validate(mistake)


def test_a_group_is_named_by_patterns() -> None:
    assert in_group(None, "pi")
    assert outside_group(["day-*", "pi"], "day-3") is None
    assert outside_group(["day-*"], "pi") == "not in this run's group: day-*"


# --- promotion -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "before", "after", "promoted"),
    [
        (PromotionRule(), {"accuracy": 0.8}, {"accuracy": 0.8}, False),
        (PromotionRule(), {"accuracy": 0.8}, {"accuracy": 0.81}, True),
        (PromotionRule(margin=0.1), {"accuracy": 0.2}, {"accuracy": 0.3}, True),
        (PromotionRule(margin=0.1), {"accuracy": 0.2}, {"accuracy": 0.299}, False),
        (PromotionRule(), {"loss": 0.5, "accuracy": 0.5}, {"loss": 0.4, "accuracy": 0.4}, True),
        (PromotionRule(metric="accuracy"), {"loss": 0.5}, {"loss": 0.4}, False),
        (PromotionRule(rule="always"), {}, {}, True),
        (PromotionRule(rule="never"), {"accuracy": 0.1}, {"accuracy": 0.9}, False),
    ],
)
def test_a_version_is_promoted_by_the_rule(
    rule: PromotionRule, before: dict[str, float], after: dict[str, float], promoted: bool
) -> None:
    assert decide(rule, GateRule(), "V1", before, after).promoted is promoted


def test_the_gates_word_on_what_is_better_holds_for_its_metric() -> None:
    gate = GateRule("score", less_is_better=True)
    assert decide(PromotionRule(), gate, "V1", {"score": 2.0}, {"score": 1.0}).promoted
    assert not decide(PromotionRule(metric="f1"), gate, "V1", {"f1": 2.0}, {"f1": 1.0}).promoted
