"""No reply outweighs the others of its round: what is beyond is named, with what to set if it is right."""

from __future__ import annotations

import math

import pytest

from fedops.config.schema import Limits
from fedops.core.contracts.training import ClientMetrics, UpdateHeader
from fedops.engine.reply_limits import ReplyLimits
from fedops.engine.update_checks import CheckedUpdate


def reply(device: str, examples: int = 100, norm: float | None = 1.0) -> CheckedUpdate:
    header = UpdateHeader(device, 1, 1, 1, "f")
    return CheckedUpdate(header, ClientMetrics(examples, {}), None, 10, norm)


def beyond(*updates: CheckedUpdate, **limits: float) -> dict[str, str]:
    return ReplyLimits(Limits.model_validate(limits)).beyond(updates)


def test_an_example_count_beyond_ten_times_the_median() -> None:
    usual = [reply("a", 100), reply("b", 120), reply("c", 1_000)]
    assert beyond(*usual) == {}
    found = beyond(*usual[:2], reply("evil", 2**53 - 1))
    assert list(found) == ["evil"]
    assert "9007199254740991 examples, more than 10 times the 120" in found["evil"]
    assert "set server.limits.max_examples" in found["evil"]


def test_a_small_round_is_compared_with_what_all_devices_announced() -> None:
    limits = ReplyLimits(Limits())
    assert limits.beyond([reply("a", 1_000)], [90, 100, 10**9]) == {}
    found = limits.beyond([reply("evil", 1_001), reply("a")], [90, 100, 10**9])
    assert list(found) == ["evil"]
    assert "more than 10 times the 100 that are usual" in found["evil"]
    more = [reply("a", 5_000), reply("b", 5_000), reply("c", 40_000)]
    assert limits.beyond(more, [100, 100, 100]) == {}


def test_of_two_neither_is_the_usual_one() -> None:
    assert beyond(reply("a", 1), reply("b", 10**6)) == {}


def test_a_task_says_how_many_examples_there_may_be() -> None:
    found = beyond(reply("a", 501), max_examples=500)
    assert "on 501 examples, and server.limits.max_examples = 500" in found["a"]
    many = [reply("a", 1), reply("b", 2), reply("c", 10**6)]
    assert beyond(*many, max_examples=10**6) == {}


def test_who_only_evaluates_is_looked_at_too() -> None:
    updates = [
        CheckedUpdate(
            UpdateHeader(name, 1, 1, 1, "f"), None, ClientMetrics(examples, {"loss": 1.0}), 10
        )
        for name, examples in (("a", 10), ("b", 10), ("c", 2**52))
    ]
    assert "it says that it evaluated on" in beyond(*updates)["c"]


@pytest.mark.parametrize("norm", [20.1, 1e30, math.inf])
def test_an_update_that_goes_too_far(norm: float) -> None:
    others = [reply("a", norm=0.5), reply("b", norm=1.0), reply("d", norm=1.5)]
    assert beyond(*others, reply("c", norm=20.0)) == {}
    found = beyond(*others[:2], reply("c", norm=norm))
    assert "more than 20 times the 1 that is usual" in found["c"]
    assert beyond(*others[:2], reply("c", norm=norm), max_norm_ratio=0) == {}


def test_where_the_usual_update_changes_nothing_there_is_no_measure() -> None:
    assert beyond(reply("a", norm=0.0), reply("b", norm=0.0), reply("c", norm=0.1)) == {}
