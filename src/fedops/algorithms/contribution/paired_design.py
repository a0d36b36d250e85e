"""Which coalitions KernelSHAP evaluates: pairs of a coalition and its complement, drawn by size.

Each stratum is all pairs of one size (and its complement's). The Shapley kernel gives a coalition of size s
the weight (n-1) / (C(n,s) s (n-s)). The stratum of size 1 comes first and whole, where it fits: it has what
each client achieves alone and what is lost without it. The rest of the budget is shared among the others
by their weight, without replacement. Every client is drawn equally often, as nearly as that is possible.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from fedops.algorithms.contribution.coalitions import coalition_of, grand_coalition

#: Up to so many pairs, a stratum is listed and then drawn from.
_LISTED = 5_000


@dataclass(frozen=True)
class Stratum:
    """The pairs of one size that are evaluated; of each, the coalition that is no larger."""

    size: int
    #: How much the kernel gives to all pairs of this size together.
    weight: float
    #: How many pairs of this size there are.
    population: int
    coalitions: tuple[int, ...]

    @property
    def unseen(self) -> float:
        """The share of its pairs that are not evaluated: none, and its mean is exact."""
        return 1.0 - len(self.coalitions) / self.population


def draw_design(players: int, pairs: int, rng: np.random.Generator) -> list[Stratum]:
    """Strata with ``pairs`` pairs together, or with all that there are."""
    sizes = range(1, players // 2 + 1)
    counts = _allocate(players, pairs)
    return [
        Stratum(
            size,
            _kernel_weight(players, size),
            _population(players, size),
            tuple(_draw_pairs(players, size, count, rng)),
        )
        for size, count in zip(sizes, counts, strict=True)
        if count
    ]


def _kernel_weight(players: int, size: int) -> float:
    one_size = (players - 1) / (size * (players - size))
    return one_size if 2 * size == players else 2 * one_size


def _population(players: int, size: int) -> int:
    return math.comb(players, size) // (2 if 2 * size == players else 1)


def _allocate(players: int, pairs: int) -> list[int]:
    """How many pairs of each size: if it fits the first size whole, the others by their kernel weight."""
    sizes = range(1, players // 2 + 1)
    room = [_population(players, size) for size in sizes]
    counts = [0] * len(room)
    if pairs >= room[0] + len(room) - 1:
        counts = [room[0], *(1 for _ in room[1:])]
    weights = [_kernel_weight(players, size) for size in sizes]
    while (left := pairs - sum(counts)) > 0:
        open_ = [k for k in range(len(room)) if counts[k] < room[k]]
        if not open_:
            break
        total = sum(weights[k] for k in open_)
        shares = {k: int(left * weights[k] / total) for k in open_}
        if not any(shares.values()):
            shares = {k: 1 for k in sorted(open_, key=lambda k: -weights[k])[:left]}
        for k, share in shares.items():
            counts[k] = min(room[k], counts[k] + share)
    return counts


def _draw_pairs(players: int, size: int, count: int, rng: np.random.Generator) -> list[int]:
    population = _population(players, size)
    if count >= population:
        return _all_pairs(players, size)
    if population <= _LISTED:
        listed = _all_pairs(players, size)
        return [listed[k] for k in rng.permutation(population)[:count]]
    return _random_pairs(players, size, count, rng)


def _all_pairs(players: int, size: int) -> list[int]:
    found = (coalition_of(chosen) for chosen in itertools.combinations(range(players), size))
    return list(dict.fromkeys(_named(coalition, size, players) for coalition in found))


def _random_pairs(players: int, size: int, count: int, rng: np.random.Generator) -> list[int]:
    found: dict[int, None] = {}
    while len(found) < count:
        hand = [int(player) for player in rng.permutation(players)[:size]]
        found.setdefault(_named(coalition_of(hand), size, players))
    return list(found)


def _named(coalition: int, size: int, players: int) -> int:
    """Of two halves, the one without the last client: each pair has one name."""
    if 2 * size == players and coalition >> (players - 1) & 1:
        return grand_coalition(players) ^ coalition
    return coalition
