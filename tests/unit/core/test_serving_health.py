"""How a device that serves a model is: what matters most is said, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedops.core.reasons.serving import ServingFacts, serving_health
from fedops.core.states import DeploymentHealth, Enrolment, ServingStatus

WELL = ServingFacts(
    task="mnist",
    alias="serving",
    desired=2,
    quarantine="",
    enrolment=Enrolment.APPROVED,
    online=True,
    away_seconds=1.0,
    wanted=2,
    actual=2,
    status=ServingStatus.ACTIVE,
    reason="",
    stalled=False,
)
H = DeploymentHealth
HELD = {"actual": 1, "status": ServingStatus.HELD, "stalled": True, "reason": "put back"}


@pytest.mark.parametrize(
    ("changed", "health", "words"),
    [
        ({}, H.HEALTHY, ""),
        ({"actual": 1, "status": ServingStatus.FETCHING}, H.PROGRESSING, "fetching"),
        ({"actual": 1, "wanted": 1}, H.PROGRESSING, "heard of V2"),
        ({"status": ServingStatus.FAILED, "reason": "exit 1"}, H.DEGRADED, "exit 1"),
        (HELD, H.STALLED, "put back"),
        ({"online": False, "away_seconds": 7_200.0}, H.HEALTHY, "away for 2 h"),
        ({"online": False, "actual": 1}, H.WAITING, "it takes V2 when it is back"),
        ({"online": False, "actual": None, "away_seconds": None}, H.WAITING, "it never called"),
        ({"desired": None, "actual": None}, H.PROGRESSING, "'fedops model promote mnist VERSION'"),
        ({"quarantine": "a doubt"}, H.DEGRADED, "until serving names another version"),
        ({"quarantine": "a doubt", "actual": 1}, H.STALLED, "it is not delivered"),
        ({"quarantine": "x", "alias": "best"}, H.DEGRADED, "rollback mnist --alias best'"),
        ({"enrolment": Enrolment.QUARANTINED}, H.STALLED, "the device is quarantined"),
    ],
)
def test_what_is_said(changed: dict[str, Any], health: H, words: str) -> None:
    found, why = serving_health(replace(WELL, **changed))
    assert found is health
    assert words in why
    assert (why == "") == (words == "")
