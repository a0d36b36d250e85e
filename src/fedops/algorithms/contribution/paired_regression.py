"""The linear model behind KernelSHAP's pairs: how clients' values explain what coalitions achieve.

Each pair of a coalition of size s and its complement is one row,

    half difference = z psi + a_s + c_s z eta + error,    z = membership - s/n

psi are the values less their mean; the other columns take out what would only be noise. Small coalitions
miss their share of v(N), which is the same for all of one size (a_s). And in a mean of models, a client
moves a small coalition more than a large one, as n / (s (n-s)) (c_s, less its mean, so that psi stays the
value; eta is shrunk by a ridge). Over all coalitions, both are orthogonal to z: psi is exact.

With scikit-learn's digits, 10 clients and 140 evaluations, they bring the cosine distance to exact from 0.016
to 0.004 where the data is skewed, and from 0.003 to 0.00004 where it is even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.algorithms.contribution.coalitions import Floats, membership
from fedops.algorithms.contribution.paired_design import Stratum

#: The ridge on eta, as a share of what the rows say of psi.
RIDGE = 0.1
#: A row that determines its own fit leaves no residual; it is taken to keep this share of it.
LEAST_FREEDOM = 0.05
#: Residuals are divided by (1 - leverage) to this power: 1/2 says too little of few rows, 1 too much.
LEVERAGE_POWER = 0.75
#: What is smaller than this share of the largest singular value is taken for 0.
_RANK = 1e-10


@dataclass(frozen=True)
class PairedRows:
    """Pairs of coalitions as rows of the model, with the columns psi, a, eta in this order."""

    players: int
    strata: tuple[Stratum, ...]
    #: Which stratum each row belongs to.
    stratum: npt.NDArray[np.integer[Any]]
    design: Floats
    #: What each row counts in the sum over all coalitions.
    weights: Floats
    #: The pseudo-inverse of the weighted products of the columns, with the ridge.
    inverse: Floats


def paired_rows(strata: Sequence[Stratum], players: int) -> PairedRows:
    """The rows of the pairs of these strata."""
    coalitions = [coalition for one in strata for coalition in one.coalitions]
    counts = [len(one.coalitions) for one in strata]
    number = np.repeat(np.arange(len(strata)), counts)
    sizes = np.array([one.size for one in strata])[number]
    weights = np.array([one.weight / len(one.coalitions) for one in strata])[number]
    z = membership(coalitions, players) - sizes[:, None] / players
    # Of two halves it is arbitrary which one is named, so they have no intercept.
    intercepts = [sizes == one.size for one in strata if 2 * one.size < players]
    slopes = z * _size_effects(strata, players)[number][:, None]
    design = np.column_stack([z, *intercepts, slopes])
    products = design.T @ (weights[:, None] * design)
    level = float(np.trace(products[:players, :players])) / players
    products[-players:, -players:] += RIDGE * level * np.eye(players)
    inverse = np.linalg.pinv(products, rcond=_RANK, hermitian=True)
    return PairedRows(players, tuple(strata), number, design, weights, inverse)


def _size_effects(strata: Sequence[Stratum], players: int) -> Floats:
    """c of each stratum: mean 0 and variance 1 over all coalitions; 0 where there is one size alone."""
    sizes = np.array([one.size for one in strata])
    shares = np.array([one.weight for one in strata]) * sizes * (players - sizes)
    shares = shares / shares.sum()
    effects = players / (sizes * (players - sizes))
    effects = effects - shares @ effects
    deviation = np.sqrt(shares @ effects**2)
    return np.asarray(effects / deviation if deviation > 1e-9 else np.zeros(len(sizes)))


def fit(rows: PairedRows, halves: Floats) -> Floats:
    """The coefficient of each column, for each column of ``halves``. Those of psi sum to 0."""
    return np.asarray(rows.inverse @ (rows.design.T @ (rows.weights[:, None] * halves)))


def standard_errors(rows: PairedRows, residuals: Floats) -> Floats:
    """Of each value: that of a sample by strata without replacement. A whole stratum adds nothing."""
    leverage = rows.weights * np.einsum("pi,ij,pj->p", rows.design, rows.inverse, rows.design)
    freedom = np.maximum(1 - leverage, LEAST_FREEDOM) ** LEVERAGE_POWER
    scores = (rows.design * (residuals / freedom)[:, None] @ rows.inverse)[:, : rows.players]
    variance = np.zeros(rows.players)
    for number, stratum in enumerate(rows.strata):
        own = scores[rows.stratum == number]
        variance += stratum.weight**2 * stratum.unseen * (own**2).mean(0) / len(own)
    return np.sqrt(variance)
