from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fedops.explain.quality import drift

ZERO = np.zeros(4)


def one(measure: Callable[..., Any], first: Any, second: Any) -> float:
    """A measure of a single pair of maps."""
    return float(measure(np.asarray(first)[None], np.asarray(second)[None])[0])


def test_cosine_by_hand() -> None:
    assert one(drift.cosine, np.array([1.0, 0, 1, 0]), np.array([1.0, 1, 0, 0])) == pytest.approx(
        0.5
    )
    assert one(drift.cosine, np.array([1.0, 2]), np.array([-1.0, -2])) == pytest.approx(-1)
    assert one(drift.cosine, np.array([1.0, 2]), np.array([10.0, 20])) == pytest.approx(1)


def test_jaccard_of_the_top_tenth_by_hand() -> None:
    first, second = np.zeros(40), np.zeros(40)
    first[[0, 1, 2, 3]] = [4, 3, 2, 1]
    second[[2, 3, 4, 5]] = [4, 3, 2, 1]
    assert one(drift.jaccard, first, second) == pytest.approx(2 / 6)
    assert one(drift.jaccard, first, first) == 1


def test_cells_without_heat_are_never_among_the_top() -> None:
    first, second = np.zeros(100), np.zeros(100)
    first[0], second[1] = 1, 1
    assert one(drift.jaccard, first, second) == 0


def test_spearman_is_that_of_scipy_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        first, second = rng.integers(0, 4, 30), rng.integers(0, 4, 30)
        expected = stats.spearmanr(first, second).statistic
        assert one(drift.spearman, first, second) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [drift.cosine, drift.jaccard, drift.spearman])
def test_flat_maps_are_alike_and_never_nan(measure: Callable[..., Any]) -> None:
    heat = np.array([0.0, 1, 0, 0])
    assert one(measure, ZERO, ZERO) == 1
    assert one(measure, ZERO, heat) == 0 == one(measure, heat, ZERO)


def test_compare_takes_means_and_the_worst_eighth() -> None:
    first = np.zeros((8, 2))
    first[:, 0] = 1
    second = first.copy()
    second[3] = [0, 1]
    found = drift.compare_maps(first, second)
    assert found is not None
    assert found.cosine == pytest.approx(7 / 8)
    assert found.worst == pytest.approx(1.0)
    assert found.samples == 8


def test_nothing_to_compare() -> None:
    assert drift.compare_maps(np.zeros((0, 3)), np.zeros((0, 3))) is None
    assert drift.compare_maps(np.zeros((2, 3)), np.zeros((2, 4))) is None


@pytest.mark.parametrize(
    ("history", "distance", "jump"),
    [
        ([], 0.9, False),
        ([0.1], 0.9, False),
        ([0.6, 0.1, 0.08], 0.07, False),
        ([0.6, 0.1, 0.08], 0.6, True),
        ([0.6, 0.12, 0.08, 0.06, 0.05], 0.12, False),
        ([0.02] * 10, 0.11, False),
        ([0.02] * 10, 0.13, True),
        ([0.3] * 10, 0.55, False),
        ([0.3] * 10, 0.61, True),
        ([0.5] * 10 + [0.02] * 10, 0.2, True),
    ],
)
def test_a_jump_leaves_the_usual_course(history: list[float], distance: float, jump: bool) -> None:
    assert drift.is_jump(history, distance) is jump


def test_numbers_stay_in_range() -> None:
    tiny = np.full(3, 1e-200)
    assert math.isfinite(one(drift.cosine, tiny, tiny))
    big = np.full(50, 1 / 3)
    assert one(drift.cosine, big, big) <= 1
