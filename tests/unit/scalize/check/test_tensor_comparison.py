"""Where two models part."""

import numpy as np

from fedops.scalize.check.tensor_comparison import first_difference


def test_the_same_bits_are_no_difference() -> None:
    one = {"a": np.array([1.0, np.nan]), "b": np.array([1])}
    assert first_difference(one, {name: array.copy() for name, array in one.items()}) == ""


def test_the_first_tensor_that_differs_is_named() -> None:
    one = {"a": np.ones(3, np.float32), "b": np.zeros((2, 2), np.float32)}
    other = {"a": np.ones(3, np.float32), "b": np.array([[0, 0], [0.5, 0]], np.float32)}
    assert first_difference(one, other) == "'b': 1 of 4 values differ, by up to 0.5"
    assert first_difference({"a": np.float32(0.0)[None]}, {"a": np.float32(-0.0)[None]}) == (
        "'a': 1 of 1 values differ, by up to 0"
    )


def test_what_cannot_be_compared_is_said() -> None:
    one, other = {"a": np.ones(3, np.float32)}, {"a": np.ones(4, np.float64)}
    assert first_difference(one, other) == (
        "'a': float32[3] and float64[4], which cannot be compared"
    )
    assert first_difference(one, {}) == "'a', which only the first of them has"
    assert first_difference({}, one) == "'a', which only the second of them has"
