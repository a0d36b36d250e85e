"""What must hold for any game: efficiency, symmetry, dummies, linearity, and names that do not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from known_games import additive, table_game

from fedops.algorithms.contribution.estimators import METHODS, estimate
from fedops.algorithms.contribution.game import Game

PLAYERS = 5
WHOLE = 1 << PLAYERS
#: Those whose values sum to v(N).
EFFICIENT = ("shapley", "kernel_shap", "guided_permutations")
EXACT = ("shapley", "banzhaf", "beta_shapley", "leave_one_out", "individual")
NUMBERS = st.floats(-10, 10, allow_subnormal=False)
PAYOFFS = hnp.arrays(np.float64, WHOLE, elements=NUMBERS)
SEEDS = st.integers(0, 2**32 - 1)


def values(name: str, payoffs: np.ndarray, seed: int = 0, budget: int = WHOLE) -> np.ndarray:
    game = table_game(list(payoffs), PLAYERS, budget)
    return estimate(game, name, budget, np.random.default_rng(seed)).values


@pytest.mark.parametrize("name", EFFICIENT)
@given(payoffs=PAYOFFS, seed=SEEDS, budget=st.integers(PLAYERS + 1, WHOLE))
def test_values_sum_to_what_all_achieve(
    name: str, payoffs: np.ndarray, seed: int, budget: int
) -> None:
    if budget < METHODS[name].least(PLAYERS):
        budget = WHOLE
    found = values(name, payoffs, seed, budget)
    assert found.sum() == pytest.approx(payoffs[-1] - payoffs[0], abs=1e-9)


@pytest.mark.parametrize("name", EXACT)
@given(payoffs=PAYOFFS)
def test_clients_that_add_the_same_everywhere_are_worth_the_same(
    name: str, payoffs: np.ndarray
) -> None:
    """Clients 0 and 1 are made alike: a coalition with one of them has one payoff, whichever it is."""
    masks = np.arange(WHOLE)
    swapped = masks & ~3 | (masks & 1) << 1 | (masks & 2) >> 1
    found = values(name, (payoffs + payoffs[swapped]) / 2)
    assert found[0] == pytest.approx(found[1], abs=1e-9)


@pytest.mark.parametrize("name", EXACT)
@given(payoffs=PAYOFFS)
def test_a_client_that_adds_nothing_anywhere_is_worth_nothing(
    name: str, payoffs: np.ndarray
) -> None:
    found = values(name, payoffs[np.arange(WHOLE) & ~1])
    assert found[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", [*EXACT, "kernel_shap"])
@given(first=PAYOFFS, second=PAYOFFS, factor=NUMBERS)
def test_values_of_a_sum_are_the_sum_of_values(
    name: str, first: np.ndarray, second: np.ndarray, factor: float
) -> None:
    budget = WHOLE - 2 if name == "kernel_shap" else WHOLE
    both = values(name, first + factor * second, budget=budget)
    apart = values(name, first, budget=budget) + factor * values(name, second, budget=budget)
    assert both == pytest.approx(apart, abs=1e-7)


@pytest.mark.parametrize("name", [*EXACT, "kernel_shap"])
@given(payoffs=PAYOFFS, order=st.permutations(range(PLAYERS)))
def test_names_do_not_matter(name: str, payoffs: np.ndarray, order: list[int]) -> None:
    renamed = np.empty_like(payoffs)
    for mask in range(WHOLE):
        renamed[sum(1 << order[i] for i in range(PLAYERS) if mask >> i & 1)] = payoffs[mask]
    assert values(name, renamed)[order] == pytest.approx(values(name, payoffs), abs=1e-9)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "guided_permutations"])
@given(gains=st.lists(NUMBERS, min_size=PLAYERS, max_size=PLAYERS), seed=SEEDS)
def test_an_additive_game_has_one_answer(name: str, gains: list[float], seed: int) -> None:
    game = additive(gains)
    found = estimate(game, name, WHOLE, np.random.default_rng(seed))
    assert found.values == pytest.approx(gains, abs=1e-9)


@given(gains=st.lists(st.floats(0.01, 10), min_size=PLAYERS, max_size=PLAYERS), seed=SEEDS)
def test_orders_that_are_cut_short_miss_no_more_than_their_tolerance(
    gains: list[float], seed: int
) -> None:
    found = estimate(additive(gains), "guided_permutations", WHOLE, np.random.default_rng(seed))
    assert found.values == pytest.approx(gains, abs=2e-3 * sum(gains))


@given(gains=st.lists(NUMBERS, min_size=8, max_size=8), seed=SEEDS)
def test_sampled_pairs_find_an_additive_game_exactly(gains: list[float], seed: int) -> None:
    found = estimate(additive(gains), "kernel_shap", 60, np.random.default_rng(seed))
    assert found.values == pytest.approx(gains, abs=1e-8)
    assert not found.exact


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("players", [1, 2, 3])
def test_few_clients(name: str, players: int) -> None:
    game = Game(players, lambda coalitions: [float(c.bit_count()) for c in coalitions])
    found = estimate(game, name, 1 << max(players, 2), np.random.default_rng(0))
    assert found.values == pytest.approx([1.0] * players)
    assert np.isfinite(found.standard_errors).all()
