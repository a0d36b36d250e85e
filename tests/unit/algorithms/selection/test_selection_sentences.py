"""What selectors say of each candidate is true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from candidates import candidate, candidates

from fedops.algorithms.selection.registry import BUILT_IN, make_selector
from fedops.algorithms.selection.selector import RoundAhead
from fedops.core.contracts import Candidate, IntegrityFlag, SelectionDecision

FLAG = IntegrityFlag(kind="replay", reason="the last change again")


def said(
    name: str, pool: list[Candidate], wanted: int, round_: int = 10, **options: Any
) -> dict[str, SelectionDecision]:
    selector = make_selector(name, options)
    ahead = RoundAhead(round_, len(pool), wanted)
    found = selector.select(pool, wanted, np.random.default_rng(1), ahead)
    return {one.device: one for one in found.decisions()}


def reasons(found: dict[str, SelectionDecision], chosen: bool) -> set[str]:
    return {one.reason for one in found.values() if one.chosen is chosen}


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_one_device_alone_is_no_crowd(name: str) -> None:
    assert reasons(said(name, [candidate("a")], 1), chosen=True) == {
        "every available client is needed"
    }


def test_round_robin_tells_equals_from_those_that_waited_longer() -> None:
    found = said("round-robin", candidates(5, last_invited=[None, None, 3, 3, 5]), 1)
    equal = "chance decided among those that waited as long: was never invited"
    assert reasons(found, chosen=True) == {"its turn: was never invited"}
    assert reasons(found, chosen=False) == {
        equal,
        "others waited longer: was invited last in round 3",
        "others waited longer: was invited last in round 5",
    }


def test_power_of_choice_tells_new_ones_from_those_that_said_no_loss_and_equals_from_less() -> None:
    pool = candidates(6, last_loss=[3.0, 2.0, 2.0, 1.0, None, None], last_invited=[1] * 5 + [None])
    found = said("power-of-choice", pool, 3, drawn_per_client=2)
    said_of = {name: one.reason for name, one in found.items()}
    assert said_of["pi-005"] == (
        "drawn by its examples, was never invited, which comes before every loss"
    )
    assert said_of["pi-003"] == "drawn by its examples, loss 1: others have a higher one"
    known = "drawn by its examples, has reported no loss and counts with 2"
    chance = ": chance decided among equals"
    ties = ["drawn by its examples, loss 2", "drawn by its examples, loss 2", known]
    lost = [said_of[f"pi-{i:03}"].endswith(chance) for i in (1, 2, 4)]
    assert [said_of[f"pi-{i:03}"].removesuffix(chance) for i in (1, 2, 4)] == ties
    assert sum(lost) == 2, "one of the three equal ones has the third place"


def test_tiers_say_where_the_places_went() -> None:
    pool = candidates(6, round_seconds=[1.0] * 4 + [None] * 2, last_invited=[1] * 4 + [None] * 2)
    found = said("tiers", pool, 2, tiers=1)
    assert reasons(found, chosen=True) == {
        "was never invited, no time of it is known: invited to measure it"
    }
    assert reasons(found, chosen=False) == {
        "tier 1 (1 s a round), whose turn it is: new devices took all places"
    }
    found = said("tiers", pool, 3, tiers=1)
    assert "tier 1 (1 s a round), whose turn it is" in reasons(found, chosen=True)
    assert reasons(found, chosen=False) == {
        "tier 1 (1 s a round), whose turn it is: others of it were drawn"
    }
    found = said("tiers", pool, 1)
    assert (
        "was never invited, no time of it is known: not yet, others like it were drawn"
        in reasons(found, chosen=False)
    )


def test_tiers_take_who_was_invited_and_has_no_time_for_one_of_the_middle() -> None:
    pool = candidates(5, round_seconds=[1.0, 2.0, None, 8.0, 9.0], last_invited=[3] * 5)
    found = said("tiers", pool, 1, tiers=5)
    assert found["pi-002"].parts == {"tier": 3.0}
    assert "tier 3 (no time known)" in found["pi-002"].reason


def test_oort_says_among_whom_it_drew() -> None:
    pool = candidates(
        6,
        last_loss=[9.0, 9.0, 1.0, None, None, None],
        last_invited=[9, 9, 9, 9, None, None],
        last_round=[9, 9, 9, None, None, None],
        rounds_taken=[1, 1, 1, 0, 0, 0],
    )
    found = said("oort", pool, 2, exploration=0.5, exploration_decay=1.0)
    texts = {name: one.reason.partition(": ")[2] for name, one in found.items()}
    assert sorted([texts["pi-000"], texts["pi-001"]]) == [
        "among the highest, others of which were drawn",
        "drawn among the highest",
    ]
    assert texts["pi-002"] == "not among the highest"
    assert "(it never replied)" in found["pi-003"].reason
    assert {found["pi-004"].reason, found["pi-005"].reason} == {
        "was never invited: explored",
        "was never invited: not among those drawn to be explored",
    }


def test_oort_says_who_rests_and_when_no_place_was_left() -> None:
    known: dict[str, Any] = {"last_loss": [1.0] * 6, "last_round": [5] * 6, "last_invited": [5] * 6}
    pool = candidates(6, **known, rounds_taken=[9, 1, 1, 1, 1, 1])
    assert (
        "it replied in 9 rounds and rests" in said("oort", pool, 1, most_rounds=5)["pi-000"].reason
    )
    new = candidates(
        3, last_loss=[1.0, None, None], last_invited=[5, None, None], last_round=[5, None, None]
    )
    found = said("oort", new, 2, exploration=1.0, exploration_decay=1.0)
    assert found["pi-000"].reason.endswith(
        ": all places went to new devices and to those whose turn it is"
    )


def test_oort_drops_nobody_for_ever() -> None:
    pool = candidates(
        4, last_loss=[1.0] * 4, last_round=[1, 99, 99, 99], last_invited=[1, 99, 99, 99]
    )
    found = said("oort", pool, 1, round_=100)
    assert found["pi-000"].reason.startswith("its turn: no device waits for longer")


def test_contribution_speaks_of_seconds_only_where_some_are_known() -> None:
    pool = candidates(4, value=[4.0, 3.0, 2.0, 2.0], last_invited=[9] * 4)
    found = said("contribution", pool, 3, exploration=0.0, late_fairness=3.0)
    assert found["pi-000"].reason == "score 2 is among the highest"
    assert {found["pi-002"].reason, found["pi-003"].reason} == {
        "score 0 is among the highest",
        "score 0: chance decided among those with the same",
    }
    assert said("contribution", pool, 2, exploration=0.0, late_fairness=3.0)["pi-003"].reason == (
        "score 0: others have a higher one"
    )
    times = [1.0, None, 900.0]
    timed = candidates(3, value=[1.0, 1.1, 0.0], last_invited=[9] * 3, round_seconds=times)
    found = said("contribution", timed, 1, exploration=0.0, late_fairness=3.0)
    assert found["pi-001"].reason == (
        "score 1.1 does not make up for 450 s a round (the median, as no time of it is known)"
    )


def test_contribution_says_that_all_places_went_to_those_whose_turn_it_is() -> None:
    pool = candidates(4, value=[1.0] * 4, last_invited=[1, 99, 99, 99])
    found = said("contribution", pool, 1, round_=100)
    assert reasons(found, chosen=False) == {
        "score 3.15: all places went to devices whose turn it is"
    }


def test_flags_do_not_count_when_more_than_half_have_one() -> None:
    history: dict[str, Any] = {"value": [9.0, 8.0, 7.0, 1.0, 1.0], "last_invited": [9] * 5}
    most = candidates(5, **history, flags=[[FLAG], [FLAG], [FLAG], [], []])
    found = said("contribution", most, 2, exploration=0.0, late_fairness=3.0)
    assert {name for name, one in found.items() if one.chosen} == {"pi-000", "pi-001"}
    assert found["pi-000"].reason == (
        "score 8 is among the highest; flagged, but so are more than half, so that no flag counts"
    )
    some = candidates(5, **history, flags=[[FLAG], [FLAG], [], [], []])
    found = said("contribution", some, 2, exploration=0.0, late_fairness=3.0)
    assert not found["pi-000"].chosen
    assert not found["pi-001"].chosen
