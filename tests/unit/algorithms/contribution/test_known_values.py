"""Worked examples: every method on games whose answers are fractions."""

from fractions import Fraction as F
from itertools import permutations

import numpy as np
import pytest
from known_games import gloves, majority, three

from fedops.algorithms.contribution.coalitions import coalition_of
from fedops.algorithms.contribution.estimators import estimate
from fedops.algorithms.contribution.game import Game
from fedops.algorithms.contribution.gradient_scores import cgsv, reputations, reward_shares
from fedops.algorithms.contribution.kernel_shap import kernel_shap
from fedops.algorithms.contribution.msr_banzhaf import banzhaf_of_sample
from fedops.algorithms.contribution.permutations import Marginals, add_order, estimate_of
from fedops.algorithms.contribution.semivalues import (
    banzhaf,
    beta_shapley,
    beta_weights,
    individual,
    leave_one_out,
    shapley,
    shapley_weights,
)

EXACT = 1e-12


def near(*values: F | float) -> object:
    return pytest.approx([float(value) for value in values], abs=EXACT)


def in_orders(game: Game, orders: list[list[int]], tolerance: float = 0.0) -> Marginals:
    marginals = Marginals()
    for order in orders:
        add_order(marginals, game, order, tolerance)
    return marginals


def test_shapley() -> None:
    found = shapley(three())
    assert found.values == near(F(5, 12), F(4, 15), F(-1, 30))
    assert found.values.sum() == pytest.approx(0.65, abs=EXACT)
    assert (found.exact, found.evaluations, found.standard_errors.tolist()) == (True, 8, [0, 0, 0])


def test_banzhaf_does_not_sum_to_the_whole() -> None:
    found = banzhaf(three())
    assert found.values == near(F(33, 80), F(21, 80), F(-3, 80))
    assert found.values.sum() == pytest.approx(51 / 80, abs=EXACT)


def test_leave_one_out_and_individual() -> None:
    assert leave_one_out(three(4)).values == near(F(7, 20), F(3, 20), F(-1, 20))
    assert individual(three(4)).values == near(F(1, 2), F(2, 5), 0)


def test_beta() -> None:
    assert beta_shapley(three(), 4).values == near(F(139, 300), F(103, 300), F(-1, 60))
    assert beta_shapley(three(), 16).values == near(F(299, 612), F(1171, 3060), F(-1, 180))
    assert beta_shapley(three(), 1, 16).values == near(F(109, 306), F(124, 765), F(-38, 765))


def test_beta_favours_small_coalitions_when_alpha_is_the_larger() -> None:
    by_size = beta_weights(3, 16, 1) * [1, 2, 1]
    assert by_size == pytest.approx([0.8889, 0.1046, 0.0065], abs=5e-5)
    assert beta_weights(3, 1, 16) * [1, 2, 1] == pytest.approx(by_size[::-1])
    assert beta_weights(5, 1, 1) == pytest.approx(shapley_weights(5))


def test_all_six_orders() -> None:
    orders = [list(order) for order in permutations(range(3))]
    marginals = in_orders(three(), orders)
    assert np.stack(marginals.rows)[:, :, 0] == pytest.approx(
        np.array(
            [
                [0.50, 0.20, -0.05],
                [0.50, 0.15, 0.00],
                [0.30, 0.40, -0.05],
                [0.35, 0.40, -0.10],
                [0.50, 0.15, 0.00],
                [0.35, 0.30, 0.00],
            ]
        )
    )
    assert estimate_of(marginals, three()).values == near(F(5, 12), F(4, 15), F(-1, 30))


def test_truncation_takes_from_those_who_come_late_and_is_said() -> None:
    orders = [list(order) for order in permutations(range(3))]
    marginals = in_orders(three(), orders, tolerance=0.06)
    assert marginals.mean()[:, 0] == near(F(5, 12), F(4, 15), F(-1, 60))
    assert marginals.truncated == 2
    found = estimate_of(marginals, three())
    assert found.values.sum() == pytest.approx(0.65, abs=EXACT)
    assert found.values == near(*(v - F(1, 180) for v in (F(5, 12), F(4, 15), F(-1, 60))))
    assert "2 of them were cut short" in " ".join(found.notes)


def test_one_guided_cycle() -> None:
    found = estimate_of(in_orders(three(), [[0, 1, 2], [1, 0, 2], [2, 0, 1]]), three())
    assert found.values == near(F(13, 30), F(1, 4), F(-1, 30))


def test_kernel_shap_over_all_coalitions_is_shapley() -> None:
    rng = np.random.default_rng(0)
    for game in (three(), majority(), gloves()):
        found = kernel_shap(game, 1 << game.players, rng)
        assert found.values == pytest.approx(shapley(game).values, abs=EXACT)
        assert found.exact
        assert not found.standard_errors.any()


def test_msr_on_six_coalitions() -> None:
    chosen = [coalition_of(c) for c in ((), (0,), (0, 1), (1, 2), (0, 2), (0, 1, 2))]
    assert banzhaf_of_sample(three(), chosen).values == near(0.4375, F(13, 60), F(1, 12))


def test_closed_forms() -> None:
    assert shapley(majority()).values == near(*[F(1, 4)] * 4)
    assert banzhaf(majority()).values == near(*[F(3, 8)] * 4)
    assert shapley(gloves()).values == near(F(2, 3), F(1, 6), F(1, 6))
    assert banzhaf(gloves()).values == near(F(3, 4), F(1, 4), F(1, 4))


def test_cgsv() -> None:
    before = {"w": np.zeros(2)}
    updates = [{"w": np.array(d)} for d in ((1.0, 0.0), (0.6, 0.8), (-1.0, 0.0))]
    cosines = cgsv(updates, before, [1, 1, 1]).values
    assert cosines == near(0.6, 1.0, -0.6)
    renewed = reputations(np.zeros(3), cosines)
    assert renewed == pytest.approx([0.370370, 0.617284, 0.012346], abs=1e-6)
    assert reward_shares(renewed) == pytest.approx([0.645109, 1.0, 0.022477], abs=1e-6)


def test_per_class_values_come_from_the_same_evaluations() -> None:
    """The holder of a rare class is worth little altogether, and everything for its class."""
    rng = np.random.default_rng(0)
    classes = {c: (c & 1, c >> 1 & 1) for c in range(4)}

    def utility(coalitions: object) -> list[list[float]]:
        return [[0.9 * classes[c][0] + 0.1 * classes[c][1], *classes[c]] for c in coalitions]

    for name in ("shapley", "banzhaf", "kernel_shap", "guided_permutations", "leave_one_out"):
        game = Game(2, utility)
        found = estimate(game, name, 4, rng)
        assert found.values == near(0.9, 0.1)
        assert found.by_class == pytest.approx(np.eye(2), abs=EXACT)
        assert game.evaluations <= 4
