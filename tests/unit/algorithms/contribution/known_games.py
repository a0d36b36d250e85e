"""Games with known answers, and a small one that behaves like a round of federated learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fedops.algorithms.contribution.coalitions import membership
from fedops.algorithms.contribution.game import Game

#: U by coalition: client 1 is bit 0, client 2 is bit 1, client 3 is bit 2.
THREE = {0: 0.10, 1: 0.60, 2: 0.50, 4: 0.10, 3: 0.80, 5: 0.60, 6: 0.40, 7: 0.75}


def table_game(
    payoffs: Mapping[int, float] | Sequence[float], players: int, budget: int | None = None
) -> Game:
    """A game whose utilities are written down."""
    return Game(players, lambda coalitions: [payoffs[c] for c in coalitions], budget)


def three(budget: int | None = None) -> Game:
    """The game of three clients with worked numbers."""
    return table_game(THREE, 3, budget)


def majority() -> Game:
    """Four clients; a coalition of more than two wins."""
    return table_game([float(c.bit_count() > 2) for c in range(16)], 4)


def gloves() -> Game:
    """One left glove, two right ones; a pair is worth 1."""
    return table_game([float(bool(c & 1) and bool(c & 6)) for c in range(8)], 3)


def additive(values: Sequence[float], start: float = 0.25) -> Game:
    """Every client adds the same to every coalition."""
    n = len(values)
    return table_game(
        [start + sum(values[i] for i in range(n) if c >> i & 1) for c in range(1 << n)], n
    )


def federated_payoffs(players: int, seed: int, dimensions: int = 6) -> list[float]:
    """A bounded loss of weighted means of points: concave near the aim, and not simply so."""
    rng = np.random.default_rng(seed)
    points = 0.7 * rng.normal(size=(players, dimensions)) + np.linspace(1.0, 0.2, dimensions)
    weights = rng.uniform(0.3, 2.0, players)
    shares = membership(range(1 << players), players) * weights
    totals = shares.sum(1, keepdims=True)
    models = np.divide(shares, totals, out=np.zeros_like(shares), where=totals > 0) @ points
    distances = ((models - 1.0) ** 2).sum(1)
    return list(-np.log1p(distances) - 0.1 * np.sin(3 * models).sum(1))
