"""What holds for every selector, whatever the histories are."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from candidates import candidate, candidates, chosen, played
from hypothesis import given, settings
from hypothesis import strategies as st

from fedops.algorithms.selection.registry import BUILT_IN, make_selector
from fedops.algorithms.selection.selector import RoundAhead
from fedops.core.contracts import Candidate, IntegrityFlag

NAMES = list(BUILT_IN)
#: Those that promise a turn to every device within the fairness floor.
FAIR = ["round-robin", "stragglers", "contribution", "oort"]
every_selector = pytest.mark.parametrize("name", NAMES)

finite = st.floats(min_value=-1e6, max_value=1e6)
positive = st.floats(min_value=1e-3, max_value=1e6)
count = st.integers(min_value=0, max_value=40)


@st.composite
def pools(draw: st.DrawFn) -> list[Candidate]:
    devices = draw(st.lists(st.integers(0, 999), unique=True, max_size=25))
    return [draw(histories(f"pi-{number:03}")) for number in devices]


@st.composite
def histories(draw: st.DrawFn, device: str) -> Candidate:
    def maybe(strategy: st.SearchStrategy[Any]) -> Any:
        return draw(st.none() | strategy)

    flag = IntegrityFlag(kind="replay", reason="its update is the last change of the model")
    return candidate(
        device,
        examples=maybe(st.integers(0, 10_000)),
        rounds_invited=draw(count),
        last_invited=maybe(st.integers(1, 40)),
        rounds_taken=draw(count),
        last_round=maybe(st.integers(0, 40)),
        last_seconds=maybe(positive),
        last_loss=maybe(finite),
        round_seconds=maybe(positive),
        bench_seconds=maybe(positive),
        value=maybe(finite),
        value_error=maybe(positive),
        rounds_scored=draw(count),
        flags=[flag] if draw(st.booleans()) else [],
    )


@every_selector
@given(
    pool=pools(), wanted=st.integers(0, 30), seed=st.integers(0, 2**32), round_=st.integers(1, 60)
)
def test_as_many_as_are_wanted_of_the_candidates_each_once_and_a_word_on_all(
    name: str, pool: list[Candidate], wanted: int, seed: int, round_: int
) -> None:
    ahead = RoundAhead(round_, len(pool), wanted)
    found = make_selector(name, {}).select(pool, wanted, np.random.default_rng(seed), ahead)
    names = [device for device, _ in found.chosen]
    assert len(set(names)) == len(names) == min(wanted, len(pool))
    assert set(names) <= {one.device for one in pool}
    decisions = list(found.decisions())
    assert [one.device for one in decisions] == sorted(one.device for one in pool)
    assert {one.device: one.reason for one in decisions if one.chosen} == dict(found.chosen)
    assert all(one.reason.strip() for one in decisions)
    assert all(one.score is None or math.isfinite(one.score) for one in decisions)


@every_selector
@given(pool=pools(), wanted=st.integers(0, 30), seed=st.integers(0, 2**32), data=st.data())
def test_the_same_seed_chooses_the_same_whatever_the_order(
    name: str, pool: list[Candidate], wanted: int, seed: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(pool))
    selector = make_selector(name, {})
    assert chosen(selector, pool, wanted, seed) == chosen(selector, shuffled, wanted, seed)


@every_selector
def test_chance_comes_from_the_generator_alone(name: str) -> None:
    pool = candidates(30)
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    drawn = {tuple(chosen(make_selector(name, {}), pool, 5, seed)) for seed in range(8)}
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]
    assert len(drawn) > 1


@pytest.mark.parametrize("name", FAIR)
@pytest.mark.parametrize(("devices", "clients"), [(50, 6), (10, 3), (7, 1), (23, 5)])
def test_every_device_has_its_turn_within_the_fairness_floor(
    name: str, devices: int, clients: int
) -> None:
    seconds = [1.0 + 3.0**i % 97 + 500.0 * (i % 5 == 0) for i in range(devices)]
    values = [float(i % 9) - 4.0 for i in range(devices)]
    pool = candidates(devices, bench_seconds=seconds, value=values)
    bound = math.ceil(3 * devices / clients)
    options = {"fairness": 3} if name == "oort" else {}
    course = played(make_selector(name, options), pool, clients, rounds=3 * bound)
    for start in range(2 * bound + 1):
        seen = {device for names in course[start : start + bound] for device in names}
        assert len(seen) == devices, f"rounds {start + 1} to {start + bound}"


@every_selector
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32), late=st.integers(1, 4), benched=st.booleans())
def test_who_never_is_in_time_is_invited_less_often_and_not_never(
    name: str, seed: int, late: int, benched: bool
) -> None:
    """Fifty devices, six places, and a deadline of a minute that some never make."""
    seconds = [5.0 + i % 11 for i in range(50)]
    pool = candidates(50, bench_seconds=seconds)
    if not benched:  # no time before the first round
        pool = [
            *(one.model_copy(update={"bench_seconds": None}) for one in pool[:late]),
            *pool[late:],
        ]
    never = {one.device for one in pool[:late]}
    selector = make_selector(name, {})
    course = played(selector, pool, clients=6, rounds=100, seed=seed, never=never)
    counts = Counter(device for names in course for device in names)
    others = np.mean([counts[one.device] for one in pool[late:]])
    most = {"oort": 0.5, "stragglers": 0.7, "contribution": 0.9}.get(name, 2.2)
    for device in never:
        assert 1 <= counts[device] <= most * others
        assert any(device in names for names in course[16:]), "and not only when it was new"


@every_selector
def test_who_measures_time_says_so(name: str) -> None:
    """Of two histories that differ in measured seconds alone, the others choose the same."""
    times = [*range(1, 31), *(1000.0 * i for i in range(1, 11))]
    quick = candidates(40, round_seconds=times, last_round=[1] * 40, last_invited=[9] * 40)
    slow = [
        one.model_copy(update={"round_seconds": seconds})
        for one, seconds in zip(quick, reversed(times), strict=True)
    ]
    selector = make_selector(name, {})
    differs = any(chosen(selector, quick, 6, s) != chosen(selector, slow, 6, s) for s in range(9))
    assert differs == selector.measures_time
