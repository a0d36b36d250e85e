"""Clipping an update to a length."""

import numpy as np

from fedops.algorithms.clipping import clip_update

BEFORE = {"a": np.array([1.0, 1.0], np.float32), "b": np.array(0.0, np.float32)}
AFTER = {"a": np.array([4.0, 1.0], np.float32), "b": np.array(4.0, np.float32)}


def test_a_long_update_is_scaled_to_the_bound() -> None:
    clipped, changed = clip_update(AFTER, BEFORE, AFTER, 2.5)
    assert changed
    assert clipped["a"].tolist() == [2.5, 1.0]
    assert clipped["b"].tolist() == 2.0
    assert clipped["a"].dtype == np.float32


def test_a_short_one_stays_bit_for_bit() -> None:
    clipped, changed = clip_update(AFTER, BEFORE, AFTER, 5.0)
    assert not changed
    assert clipped["a"] is AFTER["a"]


def test_no_change_at_all_is_no_division_by_zero() -> None:
    clipped, changed = clip_update(BEFORE, BEFORE, ["a"], 1.0)
    assert not changed
    assert list(clipped) == ["a"]
