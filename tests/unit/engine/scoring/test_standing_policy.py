"""What selectors see of contributions, and whom a policy keeps out."""

from __future__ import annotations

import pytest

from fedops.core.contracts import Candidate, ClientStanding, IntegrityFinding
from fedops.engine.scoring.standing_policy import policies, with_standing

REPLAY = IntegrityFinding(kind="replay", evidence="in 3 of its last 3 rounds")
STANDINGS = {
    "a": ClientStanding(device="a", relative=0.15, relative_error=0.05, rounds=4, integrity=0.1),
    "b": ClientStanding(device="b", value=0.1, rounds=4, integrity=0.0),
    "p": ClientStanding(device="p", value=-0.2, rounds=4, integrity=-3.0, findings=[REPLAY]),
}


def seen(policy: str, device: str) -> Candidate:
    candidate = Candidate(device=device, node_id="1")
    return with_standing(candidate, STANDINGS, policies(policy, STANDINGS))


def test_a_selector_sees_the_relative_value_of_a_round_and_its_error() -> None:
    found = seen("report", "a")
    assert found.value == pytest.approx(0.15)
    assert found.value_error == pytest.approx(0.05)
    assert (found.rounds_scored, found.flags, found.unavailable) == (4, [], None)
    assert seen("report", "new") == Candidate(device="new", node_id="1")


def test_who_was_found_out_is_flagged_and_out_only_if_that_is_the_policy() -> None:
    assert [flag.kind for flag in seen("report", "p").flags] == ["replay"]
    assert seen("report", "p").unavailable is None
    why = seen("exclude", "p").unavailable
    assert why is not None
    assert why.startswith("excluded: replay, in 3 of its last 3 rounds")
    assert seen("exclude", "a").unavailable is None
    assert seen("downweight", "p").unavailable is None


def test_what_is_unavailable_already_says_its_own_reason() -> None:
    candidate = Candidate(device="p", node_id="1", unavailable="offline")
    found = with_standing(candidate, STANDINGS, policies("exclude", STANDINGS))
    assert found.unavailable == "offline"


def test_a_client_counts_as_much_as_the_policy_says() -> None:
    counts = policies("downweight", STANDINGS)
    assert {name: one.factor for name, one in counts.items()} == {"a": 1.0, "b": 1.0, "p": 0.1}
