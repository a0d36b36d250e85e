"""The population stability index, with a number that was worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedops.algorithms.population_stability import (
    bin_counts,
    bin_edges,
    by_chance,
    most_moved,
    stability_index,
)


def test_the_worked_example() -> None:
    """Shares 0.5, 0.5 become 0.75, 0.25 (with half a value added to each count):
    (0.75 - 0.5) ln 1.5 + (0.25 - 0.5) ln 0.5 = 0.101366 + 0.173287 = 0.274653."""
    before, now = np.array([49.5, 49.5]), np.array([74.5, 24.5])
    assert stability_index(before, now) == pytest.approx(0.274653, abs=1e-6)


def test_it_is_symmetric_and_zero_for_the_same_shares_and_finite_for_an_empty_bin() -> None:
    one, other = np.array([10, 20, 70]), np.array([30, 0, 70])
    assert stability_index(one, other) == pytest.approx(stability_index(other, one))
    assert stability_index(one, one) == 0.0
    assert np.isfinite(stability_index(one, other))


def test_bins_are_deciles_and_open_at_their_ends() -> None:
    values = np.arange(1_000.0)
    edges = bin_edges(values)
    assert len(edges) == 9
    assert bin_counts(values, edges).tolist() == [100] * 10
    assert bin_counts(np.array([-1e9, 1e9]), edges).tolist() == [1, *[0] * 8, 1]


def test_a_feature_that_was_always_the_same_moves_up_and_down() -> None:
    edges = bin_edges(np.full(50, 3.0))
    before = bin_counts(np.full(50, 3.0), edges)
    assert before.tolist() == [0, 50, 0]
    for value in (2.9, 3.1):
        assert stability_index(before, bin_counts(np.full(50, value), edges)) > 1


@pytest.mark.parametrize("count", [400, 2_000])
def test_what_has_not_moved_stays_below_what_chance_brings(count: int) -> None:
    random = np.random.default_rng(5)
    before = [random.normal(size=count) for _ in range(64)]
    now = [random.normal(size=count) for _ in range(64)]
    moved = [*now[:-1], now[-1] + 1.0]
    edges = [bin_edges(values) for values in before]

    def index(values: list[np.ndarray]) -> tuple[float, float]:
        return most_moved(
            [bin_counts(v, e) for v, e in zip(before, edges, strict=True)],
            [bin_counts(v, e) for v, e in zip(values, edges, strict=True)],
        )

    psi, chance = index(now)
    assert psi - chance < 0.1
    psi, chance = index(moved)
    assert psi - chance > 0.3
    assert chance == by_chance(10, count, count)
