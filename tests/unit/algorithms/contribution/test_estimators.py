"""Sampled methods: how near they come, how honest their errors are, and that they keep to their budget."""

from collections.abc import Sequence

import numpy as np
import pytest
from known_games import federated_payoffs, table_game

from fedops.algorithms.contribution.estimators import METHODS, choose_method, estimate
from fedops.algorithms.contribution.game import BudgetExceeded, Game
from fedops.algorithms.contribution.msr_banzhaf import msr_banzhaf
from fedops.algorithms.contribution.paired_design import draw_design
from fedops.algorithms.contribution.permutations import (
    Marginals,
    Rules,
    guided_orders,
    guided_permutations,
    settled,
    share_the_rest,
)
from fedops.algorithms.contribution.semivalues import known_leave_one_out
from fedops.core.errors import Invalid

PLAYERS = 10
GAMES = [federated_payoffs(PLAYERS, seed) for seed in range(6)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def cosine_distance(a: np.ndarray, b: np.ndarray) -> float:
    return 1 - float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("budget", [11, 12, 21, 60, 141, 300])
def test_no_method_evaluates_more_than_allowed(name: str, budget: int) -> None:
    game = table_game(GAMES[0], PLAYERS, budget)
    if budget < METHODS[name].least(PLAYERS):
        with pytest.raises(BudgetExceeded, match="are allowed"):
            estimate(game, name, budget, rng())
        assert game.evaluations == 0
    else:
        found = estimate(game, name, budget, rng())
        assert found.evaluations == game.evaluations <= budget
        assert found.values.shape == found.standard_errors.shape == (PLAYERS,)


@pytest.mark.parametrize(
    ("name", "budget", "exact"),
    [
        ("kernel_shap", 60, "shapley"),
        ("kernel_shap", 140, "shapley"),
        ("kernel_shap", 500, "shapley"),
        ("msr_banzhaf", 60, "banzhaf"),
        ("msr_banzhaf", 300, "banzhaf"),
    ],
)
def test_ninety_percent_intervals_cover_ninety_percent(name: str, budget: int, exact: str) -> None:
    covered = []
    for payoffs in GAMES:
        truth = estimate(table_game(payoffs, PLAYERS), exact, 1 << PLAYERS, rng()).values
        for seed in range(25):
            found = estimate(table_game(payoffs, PLAYERS), name, budget, rng(seed))
            low, high = found.interval
            covered.append((low <= truth) & (truth <= high))
    assert 0.85 <= np.mean(covered) <= 0.95


def test_pairs_are_near_at_fourteen_evaluations_a_client() -> None:
    distances = {"kernel_shap": [], "guided_permutations": []}
    for payoffs in GAMES:
        truth = estimate(table_game(payoffs, PLAYERS), "shapley", 1 << PLAYERS, rng()).values
        for seed in range(5):
            for name, found in distances.items():
                estimated = estimate(table_game(payoffs, PLAYERS), name, 140, rng(seed)).values
                found.append(cosine_distance(estimated, truth))
    assert np.mean(distances["kernel_shap"]) < 0.002
    assert np.mean(distances["kernel_shap"]) < 0.2 * np.mean(distances["guided_permutations"])


def test_more_evaluations_are_surer() -> None:
    errors = [
        estimate(table_game(GAMES[0], PLAYERS), "kernel_shap", budget, rng()).standard_errors.mean()
        for budget in (60, 140, 500, 1024)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0


def test_the_same_seed_gives_the_same_numbers() -> None:
    for name in METHODS:
        first, second = (
            estimate(table_game(GAMES[1], PLAYERS), name, 1024, rng(7)) for _ in range(2)
        )
        assert first.values.tobytes() == second.values.tobytes()


def test_copies_of_a_client_differ_by_no_more_than_the_standard_error_says() -> None:
    at = np.r_[0.0, 0.2, 0.5, 0.9, 0.9, 1.5, 2.0, 0.4, 0.7, 1.1]

    def utility(coalitions: Sequence[int]) -> list[float]:
        means = [at[[c >> i & 1 == 1 for i in range(PLAYERS)]] for c in coalitions]
        return [-((m.mean() - 1.0) ** 2) if len(m) else -1.0 for m in means]

    exact = estimate(Game(PLAYERS, utility), "shapley", 1 << PLAYERS, rng()).values
    assert exact[3] == pytest.approx(exact[4], abs=1e-12)
    found = [estimate(Game(PLAYERS, utility), "kernel_shap", 140, rng(seed)) for seed in range(40)]
    apart = np.array([(one.values[3] - one.values[4]) / exact[3] for one in found])
    assert np.abs(apart).mean() < 0.25
    sure = np.mean([one.standard_errors[3:5].mean() for one in found]) / exact[3]
    assert abs(apart.mean()) < 3 * 2**0.5 * sure / len(found) ** 0.5


@pytest.mark.parametrize(
    ("name", "budget", "known"),
    [("kernel_shap", 60, True), ("shapley", 1024, True), ("guided_permutations", 30, False)],
)
def test_leave_one_out_may_be_known_already(name: str, budget: int, known: bool) -> None:
    game = table_game(GAMES[0], PLAYERS, budget)
    estimate(game, name, budget, rng())
    evaluated = game.evaluations
    found = known_leave_one_out(game)
    assert game.evaluations == evaluated
    assert (found is not None) == known
    if found is not None:
        assert found.table[:, 0] == pytest.approx(
            [GAMES[0][-1] - GAMES[0][1023 ^ 1 << i] for i in range(PLAYERS)]
        )


# --- the design of pairs ---------------------------------------------------------------------------


@pytest.mark.parametrize(("players", "pairs"), [(3, 3), (10, 69), (10, 29), (16, 274), (21, 100)])
def test_pairs_are_different_and_every_size_is_there(players: int, pairs: int) -> None:
    strata = draw_design(players, pairs, rng())
    chosen = [c for one in strata for c in one.coalitions]
    grand = (1 << players) - 1
    assert len(set(chosen) | {grand ^ c for c in chosen}) == 2 * pairs
    assert [one.size for one in strata] == list(range(1, players // 2 + 1))
    assert all(c.bit_count() == one.size for one in strata for c in one.coalitions)
    assert len(strata[0].coalitions) == players
    assert strata[0].unseen == 0


def test_with_room_for_all_the_design_is_all() -> None:
    strata = draw_design(8, 10_000, rng())
    assert sum(len(one.coalitions) for one in strata) == (2**8 - 2) // 2
    assert all(one.unseen == 0 for one in strata)


# --- guided orders ---------------------------------------------------------------------------------


def test_in_a_cycle_everybody_comes_first_once() -> None:
    orders = guided_orders(5, rng())
    cycle = [next(orders) for _ in range(5)]
    assert sorted(order[0] for order in cycle) == list(range(5))
    assert all(sorted(order) == list(range(5)) for order in cycle)


def test_a_round_that_moved_nothing_is_skipped_after_two_evaluations() -> None:
    game = Game(6, lambda coalitions: [1e-5 * (c > 0) for c in coalitions])
    found = guided_permutations(game, 100, rng(), Rules(skip_below=1e-3))
    assert game.evaluations == 2
    assert not found.values.any()
    assert not found.exact
    assert found.standard_errors == pytest.approx([1e-5] * 6)
    assert "all values are taken to be 0" in found.notes[0]


def marginals_of(*rows: list[float]) -> Marginals:
    return Marginals([np.array(row)[:, None] for row in rows], [0] * len(rows))


@pytest.mark.parametrize("level", [0.0, -1.0, 1.0])
def test_values_of_nothing_and_negative_values_settle_when_they_stop_to_change(
    level: float,
) -> None:
    rules = Rules(least_orders=4, window=2)
    assert settled(marginals_of(*[[level, level]] * 5), rules)


def test_negative_values_that_still_change_are_not_settled() -> None:
    rules = Rules(least_orders=4, window=2)
    assert not settled(marginals_of([-1, 0], [-1, 0], [-9, 0], [-20, 0]), rules)


def test_values_around_nothing_that_change_sign_are_not_settled() -> None:
    rules = Rules(least_orders=4, window=1)
    assert not settled(marginals_of([1, -1], [-1, 1], [1, -1], [-1, 1]), rules)


def test_sampling_ends_when_values_have_settled() -> None:
    game = table_game(federated_payoffs(6, 0), 6)
    found = guided_permutations(game, 64, rng(), Rules(tolerance=0.0))
    assert "orders" in found.notes[0]
    assert int(found.notes[0].split()[0]) < Rules().most_orders


def test_the_rest_is_shared_equally_and_not_by_size() -> None:
    """Divided by the positive part alone, (0.5, -0.1) would become (0.3, -0.06), which sums to 0.24."""
    shared = share_the_rest(np.array([[0.5], [-0.1]]), np.array([0.3]))
    assert shared[:, 0] == pytest.approx([0.45, -0.15])


# --- Banzhaf by sample reuse -----------------------------------------------------------------------


def test_coalitions_of_many_clients_are_drawn_without_listing_all() -> None:
    game = Game(40, lambda coalitions: [float(c.bit_count()) for c in coalitions], 400)
    found = msr_banzhaf(game, 400, rng())
    assert game.evaluations == 400
    assert np.abs(found.values - 1.0).mean() < 0.6


# --- choosing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("players", "budget", "method"),
    [
        (2, 4, "shapley"),
        (10, 1024, "shapley"),
        (10, 1023, "kernel_shap"),
        (10, 140, "kernel_shap"),
        (10, 59, "guided_permutations"),
        (10, 12, "guided_permutations"),
        (10, 11, None),
        (11, 5000, "kernel_shap"),
        (16, 550, "kernel_shap"),
        (1000, 900, None),
    ],
)
def test_what_a_budget_allows(players: int, budget: int, method: str | None) -> None:
    choice = choose_method(players, budget)
    assert choice.method == method
    assert choice.evaluations <= budget
    assert f"{players} clients and {budget} evaluations" in choice.reason
    if method and players <= PLAYERS:
        game = Game(players, lambda coalitions: [float(c) for c in coalitions], choice.evaluations)
        estimate(game, method, choice.evaluations, rng())


def test_below_the_floor_it_is_said_what_remains() -> None:
    assert "only the scores of the updates' directions" in choose_method(10, 11).reason


def test_mistakes() -> None:
    with pytest.raises(Invalid, match="no contribution method 'shaply'; did you mean 'shapley'"):
        estimate(table_game(GAMES[0], PLAYERS), "shaply", 100, rng())
    with pytest.raises(Invalid, match=r"'shapley', 'kernel_shap', .*'individual'"):
        estimate(table_game(GAMES[0], PLAYERS), "zzz", 100, rng())
    with pytest.raises(BudgetExceeded, match="'shapley' needs 1024 evaluations with 10 clients"):
        estimate(table_game(GAMES[0], PLAYERS), "shapley", 1000, rng())
    with pytest.raises(BudgetExceeded, match="too many with 30 clients"):
        estimate(Game(30, lambda c: c), "banzhaf", 1 << 30, rng())
    with pytest.raises(Invalid, match="budget of at least 1"):
        choose_method(5, 0)
