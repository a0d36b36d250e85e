"""Many of a kind are one; pauses grow and end; what a receiver answers is understood."""

from __future__ import annotations

import pytest

from fedops.core.states import NotificationRule
from fedops.server.notifications.occurrences import MOST_APART, Occurrence, merged
from fedops.server.notifications.retrying import LONGEST_PAUSE, outcome_of_answer, pause


def lost(number: int, **more: object) -> Occurrence:
    name = f"d{number:04}"
    values = {
        "rule": NotificationRule.DEVICE_LOST,
        "key": f"lost device {name}",
        "subject": f"device {name}",
        "name": name,
        "sentence": f"Device {name} is lost",
        "page": f"/devices/{name}",
        "command": f"fedops device show {name}",
        "since": 100.0,
        "at": 700.0 + number,
        **more,
    }
    return Occurrence(**values)  # type: ignore[arg-type]


def test_a_few_are_told_apart_in_their_order() -> None:
    few = [lost(number) for number in range(MOST_APART)]
    assert merged(reversed(few)) == few


def test_too_many_of_a_rule_are_told_as_one_and_others_are_not() -> None:
    failed = lost(0, rule=NotificationRule.RUN_FAILED, key="event 7", event_id=7, at=1.0)
    first, one = merged([failed, *(lost(number) for number in range(1_000))])
    assert first == failed
    assert one.sentence == "1,000 devices are lost: d0000, d0001, d0002 and 997 more"
    assert (one.page, one.count, one.at) == ("/devices", 1_000, 1_699.0)
    (again,) = merged(lost(number) for number in reversed(range(1_000)))
    assert again.once == one.once
    (other,) = merged(lost(number) for number in range(999))
    assert other.once != one.once


def test_what_is_over_has_another_key_than_what_began() -> None:
    assert lost(1).once != lost(1, over=True).once
    assert lost(1).once != lost(1, since=101.0).once
    assert lost(1).once == lost(1, at=9.0).once
    many = [lost(number, over=True) for number in range(21)]
    assert merged(many)[0].sentence.startswith("21 devices are online again: d0000, ")


def test_pauses_grow_to_six_hours_and_differ_by_a_fifth() -> None:
    assert [pause(n, None, 0.5) for n in (1, 2, 3)] == [60.0, 120.0, 240.0]
    assert (pause(1, None, 0.0), pause(1, None, 1.0)) == (48.0, 72.0)
    assert pause(40, None, 1.0) == LONGEST_PAUSE
    assert pause(1, 600.0, 0.5) == 600.0
    assert pause(1, 1e9, 0.5) == LONGEST_PAUSE


@pytest.mark.parametrize(
    ("status", "sent", "final"),
    [(200, True, False), (204, True, False), (302, False, True), (400, False, True),
     (404, False, True), (408, False, False), (429, False, False), (500, False, False),
     (503, False, False)],
)  # fmt: skip
def test_answers(status: int, sent: bool, final: bool) -> None:
    outcome = outcome_of_answer(status, "no such hook", "")
    assert (outcome.sent, outcome.final) == (sent, final)
    assert sent or f"it answered {status}: no such hook" in outcome.problem


def test_retry_after_is_taken_as_seconds_and_bounded() -> None:
    assert outcome_of_answer(429, "", "120").retry_after == 120.0
    assert outcome_of_answer(503, "", "99999999").retry_after == LONGEST_PAUSE
    assert outcome_of_answer(503, "", "Wed, 21 Oct 2026 07:28:00 GMT").retry_after is None
    assert len(outcome_of_answer(400, "x" * 5_000, "").problem) <= 300
