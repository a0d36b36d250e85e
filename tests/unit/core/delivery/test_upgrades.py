"""How an upgrade of devices is judged, device by device, and what follows for the next ones."""

from __future__ import annotations

from typing import Any

import pytest

from fedops.core.delivery.upgrades import UpgradeFacts, upgrade_verdict
from fedops.core.delivery.waves import Others, Placed, StepKind, Verdict, WaveRules, next_step
from fedops.core.states import UpgradeStatus

S = UpgradeStatus
NOW = 1_000.0
THERE = {"online": True, "heard_at": NOW - 1.0}


def verdict(status: S, since: float = NOW - 60.0, **known: Any) -> Placed:
    return upgrade_verdict(UpgradeFacts("pi", 1, status, since, **known), 10.0, NOW)


@pytest.mark.parametrize(
    ("status", "known", "expected"),
    [
        (S.DONE, THERE, Verdict.GOOD),
        (S.ASKED, THERE, Verdict.GOING),
        (S.STALLED, THERE, Verdict.STALLED),
        (S.FAILED, THERE, Verdict.BAD),
        (S.FAILED, {}, Verdict.BAD),  # whether it is there or not
        (S.ASKED, {}, Verdict.AWAY),  # it ended to be started anew
        (S.STALLED, {}, Verdict.AWAY),
        (S.DONE, {"heard_at": NOW - 55.0}, Verdict.AWAY),  # it died soon after
        (S.DONE, {"heard_at": NOW - 20.0}, Verdict.GOOD),  # it was watched before it left
    ],
)
def test_what_a_device_says_is_a_verdict(
    status: S, known: dict[str, Any], expected: Verdict
) -> None:
    assert verdict(status, **known).verdict is expected


def test_it_holds_since_the_device_said_so() -> None:
    assert verdict(S.DONE, NOW - 3.0, **THERE).seconds == 3.0
    assert verdict(S.DONE, NOW - 60.0, heard_at=NOW - 20.0).seconds == 40.0


def test_a_reason_is_the_devices_own_where_it_has_one() -> None:
    assert "fedops client upgrade" in verdict(S.STALLED, **THERE).why
    assert verdict(S.FAILED, reason="no room on the disk").why == "no room on the disk"
    assert not verdict(S.DONE, **THERE).why


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (S.DONE, StepKind.NEXT),
        (S.FAILED, StepKind.STOP),
        (S.STALLED, StepKind.PAUSE),
        (S.ASKED, StepKind.WAIT),
    ],
)
def test_nobody_follows_a_canary_that_is_not_well(status: S, kind: StepKind) -> None:
    canary = [verdict(status, reason="it does not start", **THERE)]
    step = next_step(WaveRules(), 1, canary, Others(present=["jetson"]), 60.0)
    assert step.kind is kind
    assert step.devices == (("jetson",) if kind is StepKind.NEXT else ())
    if kind in (StepKind.STOP, StepKind.PAUSE):
        assert "pi" in step.why
        assert "it does not start" in step.why
