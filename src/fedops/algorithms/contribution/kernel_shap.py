"""Shapley values by least squares over pairs of complementary coalitions, with the efficiency constraint.

    min over phi of  sum over S of pi(|S|) (v(S) - sum of phi_i over S)^2,   subject to  sum of phi = v(N)

With z the membership of S less its mean |S|/n, and psi = phi - v(N)/n, both coalitions of a pair say the
same:

    [v(S) - v(N without S) - (2|S|-n)/n v(N)] / 2  =  z psi  + error

so that a pair is one row of a linear model (``paired_regression``), whose solution of least norm sums to 0:
the constraint holds by construction. Over all coalitions this is the Shapley value.

Lundberg and Lee 2017; Covert and Lee 2021 (paired sampling).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedops.algorithms.contribution.coalitions import Floats
from fedops.algorithms.contribution.estimate import Estimate, exact_estimate, sampled_estimate
from fedops.algorithms.contribution.game import BudgetExceeded, Game
from fedops.algorithms.contribution.paired_design import Stratum, draw_design
from fedops.algorithms.contribution.paired_regression import fit, paired_rows, standard_errors


def kernel_shap(game: Game, max_evaluations: int, rng: np.random.Generator) -> Estimate:
    """Shapley values from so many evaluations, which are fewer than all coalitions."""
    if game.players == 1:
        return exact_estimate("kernel_shap", game.gains([game.grand]), game.evaluations)
    if max_evaluations < 4:
        raise BudgetExceeded(f"'kernel_shap' needs 4 evaluations at least, not {max_evaluations}")
    strata = draw_design(game.players, (max_evaluations - 2) // 2, rng)
    rows = paired_rows(strata, game.players)
    whole, halves = pair_differences(game, strata)
    fitted = fit(rows, halves)
    table = fitted[: game.players] + whole / game.players
    if not any(one.unseen for one in strata) and len(strata) == game.players // 2:
        return exact_estimate("kernel_shap", table, game.evaluations)
    errors = standard_errors(rows, halves[:, 0] - rows.design @ fitted[:, 0])
    return sampled_estimate("kernel_shap", table, errors, game.evaluations)


def pair_differences(game: Game, strata: Sequence[Stratum]) -> tuple[Floats, Floats]:
    """v(N), and the left side of the linear model: a row a pair. Everything is asked at once."""
    coalitions = [coalition for one in strata for coalition in one.coalitions]
    complements = [game.grand ^ coalition for coalition in coalitions]
    gains = game.gains([game.grand, *coalitions, *complements])
    whole, first, second = gains[0], gains[1 : 1 + len(coalitions)], gains[1 + len(coalitions) :]
    sizes = np.array([coalition.bit_count() for coalition in coalitions])
    excess = (2 * sizes - game.players)[:, None] / game.players * whole
    return whole, (first - second - excess) / 2
