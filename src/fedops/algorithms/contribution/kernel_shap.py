"""Shapley values by least squares over pairs of complementary coalitions, with the efficiency constraint.

    min over phi of  sum over S of pi(|S|) (v(S) - sum of phi_i over S)^2,   subject to  sum of phi = v(N)

With z the membership of S less its mean |S|/n, and psi = phi - v(N)/n, both rows of a pair say the same:

    [v(S) - v(N without S) - (2|S|-n)/n v(N)] / 2  =  z psi  + error

so a pair is one observation of a linear model whose least-norm solution sums to 0: the constraint holds by
construction. Small coalitions fall short of their share, and how much is the same for all of one size: each
size has an intercept, which over all its coalitions is orthogonal to z. Over all coalitions this is the
Shapley value. The standard error is that of a stratified sample without replacement, from the residuals,
each divided by 1 - its leverage (HC3).

Lundberg and Lee 2017; Covert and Lee 2021 (paired sampling).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedops.algorithms.contribution.coalitions import Floats, membership
from fedops.algorithms.contribution.estimate import Estimate, exact_estimate, sampled_estimate
from fedops.algorithms.contribution.game import BudgetExceeded, Game
from fedops.algorithms.contribution.paired_design import Stratum, draw_design

#: A row that determines its own fit leaves no residual; it is taken to keep this share of it.
LEAST_FREEDOM = 0.05


@dataclass(frozen=True)
class PairedSample:
    """Pairs of coalitions as rows of a linear model: one row a pair."""

    strata: tuple[Stratum, ...]
    #: Which stratum each row belongs to.
    stratum: Floats
    #: Memberships, less their mean; behind them the intercepts of the sizes.
    design: Floats
    #: What each row counts in the sum over all coalitions.
    weights: Floats


def paired_sample(strata: Sequence[Stratum], players: int) -> PairedSample:
    """The rows of the pairs of these strata."""
    coalitions = [coalition for one in strata for coalition in one.coalitions]
    counts = [len(one.coalitions) for one in strata]
    sizes = np.repeat([one.size for one in strata], counts)
    weights = np.repeat([one.weight / len(one.coalitions) for one in strata], counts)
    memberships = membership(coalitions, players) - sizes[:, None] / players
    # Of two halves it is arbitrary which one is named, so they have no intercept.
    intercepts = [sizes == one.size for one in strata if 2 * one.size < players]
    design = np.column_stack([memberships, *intercepts])
    return PairedSample(tuple(strata), np.repeat(np.arange(len(strata)), counts), design, weights)


def kernel_shap(game: Game, max_evaluations: int, rng: np.random.Generator) -> Estimate:
    """Shapley values from so many evaluations, which are fewer than all coalitions."""
    if game.players == 1:
        return exact_estimate("kernel_shap", game.gains([game.grand]), game.evaluations)
    if max_evaluations < 4:
        raise BudgetExceeded(f"'kernel_shap' needs 4 evaluations at least, not {max_evaluations}")
    strata = draw_design(game.players, (max_evaluations - 2) // 2, rng)
    sample = paired_sample(strata, game.players)
    whole, halves = pair_differences(game, strata)
    fitted = least_squares(sample, halves)
    table = fitted[: game.players] + whole / game.players
    if not any(one.unseen for one in strata) and len(strata) == game.players // 2:
        return exact_estimate("kernel_shap", table, game.evaluations)
    errors = standard_errors(sample, halves[:, 0] - sample.design @ fitted[:, 0])[: game.players]
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


def least_squares(sample: PairedSample, halves: Floats) -> Floats:
    """A row for each column of the design: psi, whose rows sum to 0, then the intercepts.

    Where the pairs do not determine it, the least one.
    """
    root = np.sqrt(sample.weights)[:, None]
    return np.asarray(np.linalg.lstsq(root * sample.design, root * halves, rcond=1e-10)[0])


def standard_errors(sample: PairedSample, residuals: Floats) -> Floats:
    """Of each row of ``least_squares``. A stratum that was evaluated whole adds nothing."""
    design, weights = sample.design, sample.weights
    inverse = np.linalg.pinv(design.T @ (weights[:, None] * design), rcond=1e-10)
    leverage = weights * np.einsum("pi,ij,pj->p", design, inverse, design)
    inflated = residuals / np.maximum(1 - leverage, LEAST_FREEDOM)
    scores = design * inflated[:, None] @ inverse
    variance = np.zeros(design.shape[1])
    for number, stratum in enumerate(sample.strata):
        rows = scores[sample.stratum == number]
        variance += stratum.weight**2 * stratum.unseen * (rows**2).mean(0) / len(rows)
    return np.sqrt(variance)
