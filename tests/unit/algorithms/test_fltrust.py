"""FLTrust by hand, and against those whom it is made for."""

import numpy as np
import pytest

from fedops.algorithms.fltrust import fltrust
from fedops.core.errors import Invalid
from fedops.storage.tensors import Tensors


def w(*values: float) -> Tensors:
    return {"w": np.array(values, np.float32)}


ZERO, ROOT = w(0, 0), w(1, 0)


def test_worked_example() -> None:
    moved, trust = fltrust([w(3, 4), w(-1, 0), w(0.5, 0)], ZERO, ROOT)
    assert trust == pytest.approx([0.6, 0.0, 1.0])
    assert moved["w"] == pytest.approx([0.85, 0.3])


def test_changes_count_and_not_where_the_model_is() -> None:
    before = w(100, -50)
    updates = [{"w": before["w"] + u["w"]} for u in (w(3, 4), w(-1, 0), w(0.5, 0))]
    moved, _ = fltrust(updates, before, {"w": before["w"] + ROOT["w"]})
    assert moved["w"] == pytest.approx([100.85, -49.7], abs=1e-4)


def test_where_nobody_is_trusted_the_model_stays() -> None:
    for updates in ([w(-1, 0), w(0, 5)], [w(0, 0)]):
        moved, trust = fltrust(updates, w(0, 0), ROOT)
        assert trust == [0.0] * len(updates)
        assert moved["w"].tolist() == [0, 0]
    moved, trust = fltrust([w(1, 1)], ZERO, ZERO)
    assert (moved["w"].tolist(), trust) == ([0, 0], [0.0])


def test_most_may_be_bad_and_as_long_as_they_like() -> None:
    rng = np.random.default_rng(0)
    aim = rng.normal(size=500)
    honest = [{"w": aim + 0.3 * rng.normal(size=500)} for _ in range(4)]
    flipped = [{"w": -1000 * aim} for _ in range(6)]
    noise = [{"w": 1000 * rng.normal(size=500)} for _ in range(2)]
    zero, root = {"w": np.zeros(500)}, {"w": aim + 0.3 * rng.normal(size=500)}
    moved, _ = fltrust([*flipped, *honest, *noise], zero, root)
    assert np.linalg.norm(moved["w"] - aim) < 0.3 * np.linalg.norm(aim)


def test_many_tensors_are_one_direction() -> None:
    before = {"a": np.zeros((1, 1)), "b": np.zeros(1)}
    root = {"a": np.ones((1, 1)), "b": np.zeros(1)}
    update = {"a": np.full((1, 1), 3.0), "b": np.full(1, 4.0)}
    moved, trust = fltrust([update], before, root)
    assert trust == pytest.approx([0.6])
    assert (moved["a"].item(), moved["b"].item()) == (pytest.approx(0.6), pytest.approx(0.8))


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ([], "no update to aggregate"),
        ([w(1)], r"float32\[1\] in one update and float32\[2\]"),
        ([{"v": np.zeros(2, np.float32)}], "'w' is missing"),
    ],
)
def test_mistakes(updates: list[Tensors], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        fltrust(updates, ZERO, ROOT)
