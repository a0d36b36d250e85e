"""Selectors against worked numbers, and what went wrong in other implementations of the same rules."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from candidates import candidate, candidates, chosen, played

from fedops.algorithms.selection.contribution import (
    ContributionSelector,
    upper_confidence,
    within_best_end,
)
from fedops.algorithms.selection.fairness import due_now, due_rounds
from fedops.algorithms.selection.latency import penalty, percentile
from fedops.algorithms.selection.oort import OortSelector, staleness_bonus, statistical_utility
from fedops.algorithms.selection.power_of_choice import PowerOfChoiceSelector
from fedops.algorithms.selection.registry import make_selector
from fedops.algorithms.selection.round_robin import RoundRobinSelector
from fedops.algorithms.selection.selector import RoundAhead, Selector
from fedops.algorithms.selection.stragglers import StragglersSelector, slow_threshold
from fedops.algorithms.selection.tiers import TiersSelector
from fedops.algorithms.selection.uniform import UniformSelector
from fedops.algorithms.selection.weighted_draw import draw
from fedops.core.contracts import Candidate, IntegrityFlag, SelectionDecision

FLAG = IntegrityFlag(kind="replay", reason="cosine 0.99 to the last change", round=3)


def decisions(
    selector: object, pool: list[Candidate], wanted: int, round_: int = 10
) -> dict[str, SelectionDecision]:
    ahead = RoundAhead(round_, len(pool), wanted)
    found = selector.select(pool, wanted, np.random.default_rng(1), ahead)  # type: ignore[attr-defined]
    return {one.device: one for one in found.decisions()}


# --- worked numbers ---------------------------------------------------------------------------------


def test_the_utility_of_four_examples() -> None:
    losses = np.array([2.0, 1.0, 0.0, 1.0])
    root = np.sqrt(np.mean(losses**2, keepdims=True))
    assert statistical_utility(np.array([4.0]), root) == pytest.approx([4.898979], abs=1e-6)


def test_the_penalty_of_a_device_that_needs_twice_as_long() -> None:
    found = penalty(np.array([20.0, 10.0, 5.0, np.nan]), 10.0, 2.0)
    assert found.tolist() == [0.25, 1.0, 1.0, 1.0]


def test_the_bonus_of_a_device_not_heard_since_round_5_in_round_50() -> None:
    assert staleness_bonus(50, np.array([5.0])) == pytest.approx([0.279715], abs=1e-6)


def test_three_upper_confidence_bounds() -> None:
    found = upper_confidence(np.array([0.2, 0.15, 0.05]), np.array([5.0, 1.0, 4.0]), 10, 0.1)
    assert found == pytest.approx([0.267861, 0.301743, 0.125871], abs=1e-6)


def test_the_threshold_of_slow_devices() -> None:
    seconds = np.array([1.0, 2.0, 3.0, 4.0, 100.0, np.nan])
    assert slow_threshold(seconds, 3.0) == 3.0 + 3 * 1.0
    assert slow_threshold(np.array([np.nan]), 3.0) == math.inf


# --- each rule --------------------------------------------------------------------------------------


def test_uniform_draws_every_client_as_often() -> None:
    pool = candidates(5)
    counts = Counter(n for seed in range(2000) for n in chosen(UniformSelector(), pool, 2, seed))
    assert all(abs(count - 800) < 100 for count in counts.values())


def test_uniform_says_so_and_what_it_draws_stays_the_same_over_versions() -> None:
    found = decisions(UniformSelector(), candidates(9), 4)
    assert {one.reason for one in found.values() if one.chosen} == {
        "drawn uniformly: 4 of 9 available clients"
    }
    assert chosen(UniformSelector(), candidates(9), 4, seed=7) == [
        f"pi-{i:03}"
        for i in sorted(np.random.default_rng(7).choice(9, size=4, replace=False).tolist())
    ]


def test_all_are_taken_when_all_are_needed() -> None:
    pool = [candidate("b"), candidate("a")]
    found = UniformSelector().select(pool, 3, np.random.default_rng(0), RoundAhead(1, 2, 3))
    assert found.chosen == [(n, "all 2 available clients are needed") for n in ("a", "b")]


def test_a_draw_follows_its_weights_and_takes_weightless_ones_last() -> None:
    rng = np.random.default_rng(5)
    first = Counter(draw(np.array([1.0, 3.0, 0.0]), 1, rng)[0] for _ in range(4000))
    assert first[2] == 0
    assert first[1] / 4000 == pytest.approx(0.75, abs=0.03)
    assert draw(np.array([0.0, 1.0, 0.0]), 3, rng)[0] == 1


def test_round_robin_takes_new_ones_first_and_then_who_waited_longest() -> None:
    pool = candidates(4, last_invited=[3, None, 1, 2])
    assert chosen(RoundRobinSelector(), pool, 3) == ["pi-001", "pi-002", "pi-003"]
    assert decisions(RoundRobinSelector(), pool, 3)["pi-000"].reason == (
        "others waited longer: was invited last in round 3"
    )


def test_power_of_choice_takes_the_highest_losses_of_those_drawn() -> None:
    pool = candidates(6, last_loss=[0.1, 5.0, 0.2, 4.0, 0.3, None], examples=[1] * 6)
    everybody = PowerOfChoiceSelector(drawn_per_client=6)
    assert chosen(everybody, pool, 3) == ["pi-005", "pi-001", "pi-003"]
    drawn = decisions(PowerOfChoiceSelector(drawn_per_client=1), pool, 2)
    assert sum("drawn by its examples" in one.reason for one in drawn.values()) == 2


def test_power_of_choice_draws_by_examples() -> None:
    pool = candidates(3, examples=[1, 1, 98], last_loss=[9.0, 9.0, 0.1])
    rule = PowerOfChoiceSelector(drawn_per_client=1)
    counts = Counter(chosen(rule, pool, 1, seed)[0] for seed in range(500))
    assert counts["pi-002"] > 450


def test_tiers_keep_equally_fast_devices_together() -> None:
    seconds = [float(i) for i in range(1, 21)]
    pool = candidates(20, round_seconds=seconds)
    turns = Counter()
    for seed in range(400):
        names = chosen(TiersSelector(), pool, 3, seed)
        turns[{(int(name[3:]) // 4) for name in names}.pop()] += 1
        assert len({int(name[3:]) // 4 for name in names}) == 1
    assert set(turns) == set(range(5))
    assert min(turns.values()) > 50


def test_tiers_measure_first_and_fill_with_the_nearest() -> None:
    pool = candidates(6, round_seconds=[1.0, 2.0, 3.0, 4.0, 5.0, None])
    names = chosen(TiersSelector(tiers=5), pool, 3)
    assert names[0] == "pi-005"
    assert abs(int(names[1][3:]) - int(names[2][3:])) == 1


def test_stragglers_come_up_less_often_and_regain_their_chances_with_their_speed() -> None:
    seconds = [10.0 + i / 10 for i in range(19)] + [60.0]
    pool = candidates(20, round_seconds=seconds, last_invited=[9] * 20)
    counts = Counter(n for s in range(600) for n in chosen(StragglersSelector(), pool, 5, s))
    assert 0 < counts["pi-019"] < counts["pi-000"] / 5
    reason = decisions(StragglersSelector(), pool, 5)["pi-019"].reason
    assert "60 s a round is slow (more than 12.4 s), so it is invited less often" in reason
    faster = [*pool[:-1], pool[-1].model_copy(update={"round_seconds": 11.0})]
    again = Counter(n for s in range(600) for n in chosen(StragglersSelector(), faster, 5, s))
    assert again["pi-019"] == pytest.approx(150, abs=45)


# --- Oort: the cases in which its published code fails -----------------------------------------------


def test_oort_in_the_first_round_has_nobody_to_exploit() -> None:
    found = decisions(OortSelector(), candidates(9), 4, round_=1)
    assert [one.reason for one in found.values() if one.chosen] == [
        "was never invited: explored"
    ] * 4


def test_oort_when_every_arm_is_exploited() -> None:
    pool = candidates(5, last_loss=[1.0] * 5, last_round=[2] * 5, examples=[10] * 5)
    exploit = OortSelector(exploration=0.0, least_exploration=0.0)
    assert len(chosen(exploit, pool, 4)) == 4


def test_oort_without_anybody_new_exploits_in_place_of_exploring() -> None:
    pool = candidates(8, last_loss=[1.0] * 8, last_round=[2] * 8, examples=[10] * 8)
    assert len(chosen(OortSelector(exploration=1.0), pool, 6)) == 6


def test_oort_survives_a_round_0_in_the_history_and_the_first_round() -> None:
    pool = candidates(6, last_loss=[1.0] * 6, last_round=[0] * 6, examples=[10] * 6)
    for round_ in (0, 1, 2):
        assert len(chosen(OortSelector(least_exploration=0.0), pool, 3, round_=round_)) == 3
    assert np.isfinite(staleness_bonus(0, np.array([0.0]))).all()


def test_oort_takes_names_that_are_no_numbers() -> None:
    pool = [candidate(n, last_loss=1.0, last_round=2) for n in ("ward-a", "ward-b", "lab.3")]
    assert set(chosen(OortSelector(), pool, 2)) < {"ward-a", "ward-b", "lab.3"}


def test_oort_prefers_high_losses_and_devices_that_are_not_slow() -> None:
    pool = candidates(
        9,
        last_loss=[9.0, 9.0, *[1.0] * 7],
        last_round=[5] * 9,
        examples=[10] * 9,
        round_seconds=[10.0, 100.0, *[10.0] * 7],
    )
    exploit = OortSelector(exploration=0.0, least_exploration=0.0)
    found = decisions(exploit, pool, 1)
    assert found["pi-000"].chosen
    assert found["pi-001"].parts["latency"] == pytest.approx(0.01)
    assert found["pi-001"].score == pytest.approx(0.01 * (found["pi-000"].score or 0))


def test_oort_leaves_out_who_replied_too_often_but_never_too_many() -> None:
    pool = candidates(
        10,
        last_loss=[5.0] * 5 + [1.0] * 5,
        last_round=[5] * 10,
        rounds_taken=[50, 51, 52, 53, 54, 1, 1, 1, 1, 1],
        examples=[10] * 10,
    )
    rule = OortSelector(exploration=0.0, least_exploration=0.0, most_rounds=10)
    assert set(chosen(rule, pool, 2)) == {"pi-000", "pi-001"}, "30 % of ten are left out: three"
    assert len(chosen(rule, pool, 9)) == 9, "whoever is needed stays"


def test_oort_explores_fast_devices_before_slow_ones() -> None:
    pool = candidates(20, bench_seconds=[1.0] * 10 + [100.0] * 10)
    counts = Counter(n for s in range(50) for n in chosen(OortSelector(), pool, 5, s, round_=1))
    assert sum(counts[f"pi-{i:03}"] for i in range(10)) > 245


# --- seconds of benchmarks --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stragglers", "tiers", "oort", "contribution"])
def test_a_decision_says_by_which_seconds_it_was_made(name: str) -> None:
    pool = candidates(4, bench_seconds=[3.0, 9.0, 9.0, None], round_seconds=[None, 5.0, None, None])
    found = decisions(make_selector(name, {}), pool, 2, round_=1)
    parts = {
        device: {key: value for key, value in one.parts.items() if "seconds" in key}
        for device, one in found.items()
    }
    assert parts == {
        "pi-000": {"bench_seconds": 3.0},
        "pi-001": {"seconds": 5.0},
        "pi-002": {"bench_seconds": 9.0},
        "pi-003": {},
    }


def test_the_sentence_says_whether_the_seconds_are_those_of_a_benchmark() -> None:
    slow = candidates(
        8,
        bench_seconds=[1.0] * 6 + [90.0, 90.0],
        round_seconds=[None] * 7 + [60.0],
        last_invited=[9] * 8,
    )
    found = decisions(StragglersSelector(), slow, 2)
    assert "90 s a round by its benchmark is slow" in found["pi-006"].reason
    assert "60 s a round is slow" in found["pi-007"].reason
    waits = decisions(ContributionSelector(), slow, 2)
    assert waits["pi-006"].reason.endswith("does not make up for 90 s a round by its benchmark")
    assert waits["pi-007"].reason.endswith("does not make up for 60 s a round")
    assert "(90 s a round by its benchmark)" in decisions(TiersSelector(), slow, 2)["pi-006"].reason


@pytest.mark.parametrize("selector", [StragglersSelector(), ContributionSelector()])
def test_a_first_round_asks_slow_devices_less_because_of_benchmarks(selector: Selector) -> None:
    def slow_ones(pool: list[Candidate]) -> int:
        names = [name for seed in range(60) for name in chosen(selector, pool, 3, seed, round_=1)]
        return sum(name in ("pi-008", "pi-009") for name in names)

    benched = candidates(10, bench_seconds=[1.0] * 8 + [50.0] * 2)
    assert slow_ones(candidates(10)) > 20, "36 of 180 places by chance"
    assert slow_ones(benched) <= 2


# --- contribution -----------------------------------------------------------------------------------


def seen(count: int, **more: list[object]) -> list[Candidate]:
    history = {"last_invited": [9] * count, "rounds_invited": [3] * count} | more
    return candidates(count, rounds_scored=[3] * count, **history)


def test_contribution_takes_the_most_valuable_of_equally_fast_devices() -> None:
    pool = seen(8, value=[0.1 * i for i in range(8)], round_seconds=[5.0] * 8)
    assert set(chosen(ContributionSelector(), pool, 3)) == {"pi-005", "pi-006", "pi-007"}


def test_contribution_waits_for_a_slow_device_only_if_it_is_worth_the_wait() -> None:
    seconds = [1.0, 1.0, 1.0, 1.0, 4.0]
    little = seen(5, value=[0.0, 1.0, 1.0, 1.0, 2.5], round_seconds=seconds)
    found = decisions(ContributionSelector(exploration=0.0), little, 3)
    assert not found["pi-004"].chosen, "3 in 1 s are more than 4.5 in 4 s, which count as two"
    assert found["pi-004"].reason == "score 2.5 does not make up for 4 s a round"
    assert found["pi-004"].score == 2.5
    assert found["pi-001"].reason == "score 1 is among the highest within 1 s"
    much = seen(5, value=[0.0, 1.0, 1.0, 1.0, 4.5], round_seconds=seconds)
    assert "pi-004" in chosen(ContributionSelector(exploration=0.0), much, 3), "6.5 count as 3.25"


def test_the_best_end_of_a_round() -> None:
    worth, seconds = np.array([1.0, 1.0, 9.0, 1.0]), np.array([1.0, 4.0, 9.0, 25.0])
    assert within_best_end(worth, seconds, 1).tolist() == [0, 1, 2], "1/1, 1/2, 9/3, 9/5"
    assert within_best_end(worth, seconds, 2).tolist() == [0, 1, 2]
    assert within_best_end(worth, seconds, 1, already=25.0).tolist() == [0, 1, 2]
    assert within_best_end(worth, seconds, 4).tolist() == [0, 1, 2, 3]
    assert within_best_end(worth, seconds, 0).tolist() == [0, 1, 2, 3]


def test_slow_devices_share_a_round_when_it_is_the_turn_of_one() -> None:
    """Ten devices, three places: every device within 10 rounds. In round 10, it is the turn of pi-007."""
    seconds = [1.0] * 6 + [5.0, 20.0, 30.0, 40.0]
    pool = seen(10, last_invited=[9] * 6 + [4, 0, 4, 9], round_seconds=seconds, value=[1.0] * 10)
    found = decisions(ContributionSelector(), pool, 3)
    assert {name for name, one in found.items() if one.chosen} == {"pi-006", "pi-007", "pi-008"}
    assert found["pi-007"].reason.startswith("its turn")
    assert found["pi-008"].reason == "the round is slow anyway: slow devices share it"
    assert not found["pi-009"].chosen, "its last turn was a round ago"


def test_contribution_looks_again_at_devices_it_knows_little_of() -> None:
    pool = seen(4, value=[0.2, 0.15, 0.05, 0.01], rounds_invited=[50, 1, 50, 50])
    often = [one.model_copy(update={"rounds_scored": one.rounds_invited}) for one in pool]
    assert chosen(ContributionSelector(), often, 1) == ["pi-001"]
    assert chosen(ContributionSelector(exploration=0.0), often, 1) == ["pi-000"]


def test_contribution_leaves_it_to_chance_among_devices_of_which_nothing_is_known() -> None:
    pool = candidates(6)
    found = {
        name for seed in range(40) for name in chosen(ContributionSelector(), pool, 2, seed, 1)
    }
    assert found == {one.device for one in pool}


def test_contribution_leaves_flagged_devices_until_there_are_no_others() -> None:
    pool = seen(4, value=[9.0, 1.0, 1.0, 1.0], flags=[[FLAG], [], [], []])
    found = decisions(ContributionSelector(), pool, 3)
    assert found["pi-000"].reason == (
        "not chosen: flagged for replay (cosine 0.99 to the last change)"
    )
    two = seen(4, value=[9.0, 8.0, 1.0, 1.0], flags=[[FLAG], [FLAG], [], []])
    chosen_all_the_same = [n for n in chosen(ContributionSelector(), two, 3) if n < "pi-002"]
    assert len(chosen_all_the_same) == 1


def test_flagged_devices_have_no_turn_by_the_fairness_floor() -> None:
    pool = candidates(12, flags=[[FLAG]] + [[]] * 11, bench_seconds=[1.0] * 12)
    course = played(ContributionSelector(), pool, 3, rounds=40)
    assert not any("pi-000" in names for names in course)


def test_who_is_due_does_not_find_the_places_taken() -> None:
    """Five devices due in round 12, two places a round: waiting for it would leave one out."""
    due, ahead, rng = np.full(5, 12.0), RoundAhead(10, 5, 2), np.random.default_rng(1)
    seconds = np.array([1.0, 2.0, 9.0, 1.0, 1.0])
    assert due_now(due, ahead, 2, rng, seconds) == [2], "the slowest first"
    assert due_now(due, RoundAhead(9, 5, 2), 2, rng, seconds) == []
    assert len(due_now(due, RoundAhead(30, 5, 2), 2, rng, seconds)) == 2


def test_in_a_run_that_goes_on_from_another_one_nobody_is_overdue_at_once() -> None:
    never, ahead = np.array([np.nan, 60.0]), RoundAhead(61, 10, 2, first=51)
    assert due_rounds(never, ahead, 3.0).tolist() == [50 + 15, 60 + 15]


def test_a_time_that_nobody_knows_penalises_nobody() -> None:
    nothing = np.full(3, np.nan)
    assert percentile(nothing, 40.0) == math.inf
    assert penalty(nothing, math.inf, 1.0).tolist() == [1.0, 1.0, 1.0]
