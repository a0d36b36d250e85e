"""Leave-one-out by the others' measure: hand-computed, fair to names, and safe from one liar."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedops.algorithms.client_evaluations import robust_mean, values_by_others, weighted_median

NAN = math.nan
#: Three evaluators; the clients are what they are. Columns: all, without 0, without 1, without 2.
THREE = np.array([[1.0, NAN, 0.5, 0.9], [2.0, 1.0, NAN, 1.8], [3.0, 3.5, 2.0, NAN]])
FINITE = st.floats(-100, 100)
FIVE = arrays(np.float64, (5, 6), elements=FINITE)


def test_a_value_is_the_mean_of_what_the_others_lose_without_the_client() -> None:
    values, errors = values_by_others(THREE, [0, 1, 2], [1, 1, 3])
    assert values == pytest.approx([(1 - 1.5) / 4, (0.5 + 3) / 4, (0.1 + 0.2) / 2])
    # without 2: 0.1 and 0.2, equally weighted: half their difference is the standard error of the mean
    assert errors[2] == pytest.approx(0.05)
    assert errors[0] == pytest.approx(math.sqrt(2 * (1.125**2 + 9 * 0.375**2)) / 4)


def test_it_takes_two_others() -> None:
    with pytest.raises(ValueError, match="1 others evaluated"):
        values_by_others(THREE[:2], [0, 1], [1, 1])


@given(FIVE, st.lists(st.integers(1, 1_000), min_size=5, max_size=5))
def test_a_client_has_no_say_in_its_own_value(utilities: np.ndarray, examples: list[int]) -> None:
    changed = utilities.copy()
    for client in range(5):
        changed[client, client + 1] = 1e9 * (client - 2)
    # the best of a row bounds its worst: the own column is blank in what clients are asked
    for table in (utilities, changed):
        table[np.arange(5), np.arange(5) + 1] = NAN
    one, other = (values_by_others(table, range(5), examples)[0] for table in (utilities, changed))
    assert one.tolist() == other.tolist()


@given(FIVE, st.permutations(range(5)))
def test_names_do_not_matter(utilities: np.ndarray, order: list[int]) -> None:
    examples = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    values, errors = values_by_others(utilities, range(5), examples)
    renamed = utilities[order][:, [0, *(client + 1 for client in order)]]
    again, errors_again = values_by_others(renamed, range(5), examples[order])
    assert again == pytest.approx(values[order])
    assert errors_again == pytest.approx(errors[order])


@given(arrays(np.float64, st.integers(2, 8), elements=FINITE), st.floats(-1e30, 1e30), st.data())
def test_one_liar_moves_a_value_no_farther_than_the_others_differ(
    honest: np.ndarray, lie: float, data: st.DataObject
) -> None:
    weights = np.array(
        data.draw(st.lists(st.floats(1, 1e12), min_size=len(honest) + 1, max_size=len(honest) + 1))
    )
    mean, _ = robust_mean(np.append(honest, lie), weights)
    width = np.ptp(honest)
    slack = 1e-9 * (1 + np.abs(honest).max())
    farthest = (1 + 3 * 1.4826) * width + slack
    assert honest.min() - farthest <= mean <= honest.max() + farthest


def test_nobody_counts_for_more_than_the_middle_one() -> None:
    numbers, weights = np.array([0.0, 1.0, 2.0, 5.0]), np.array([10.0, 10.0, 10.0, 1e9])
    assert robust_mean(numbers, weights)[0] == pytest.approx(2.0)
    agreed = np.array([1.0, 1.0, 1.0, 5.0])
    assert robust_mean(agreed, weights) == (1.0, 0.0)  # who agree leave one liar no room
    assert robust_mean(np.array([0.0, 4.0]), np.array([3.0, 1.0]))[0] == 1.0  # of two: as they are


def test_a_ruined_model_ruins_no_sum() -> None:
    table = np.array([[-1.0, -1e30, -1.0, -1.0]] * 3)
    values, _ = values_by_others(table, [0, 1, 2], [1, 1, 1])
    assert values == pytest.approx([20.0, 0.0, 0.0])


def test_the_weighted_median_has_half_of_the_weight_up_to_it() -> None:
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3)) == 2.0
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([5.0, 1.0, 1.0])) == 3.0
    assert weighted_median(np.array([1.0, 2.0]), np.ones(2)) == 1.0
