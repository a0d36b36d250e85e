"""The weighted mean: known answers, dtypes, order, and what must be refused."""

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedops.algorithms.aggregation import elementwise_max, mean_metrics, weighted_mean
from fedops.core.errors import Invalid
from fedops.storage.tensors import PIECE, TensorFile, Tensors, save

VECTORS = [(1.0, 2.0), (3.0, 6.0), (5.0, 1.0)]
WEIGHTS = [1, 3, 4]


def w(*values: float, dtype: Any = np.float32) -> Tensors:
    return {"w": np.array(values, dtype)}


@pytest.mark.parametrize(("count", "mean"), [(1, (1, 2)), (2, (2.5, 5)), (3, (3.75, 3))])
def test_known_means(count: int, mean: tuple[float, float]) -> None:
    updates = [w(*v) for v in VECTORS[:count]]
    assert weighted_mean(updates, WEIGHTS[:count], ["w"])["w"].tolist() == list(mean)


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.complex64]
)
def test_the_dtype_stays(dtype: Any) -> None:
    mean = weighted_mean([w(*v, dtype=dtype) for v in VECTORS], WEIGHTS, ["w"])["w"]
    assert mean.dtype == dtype
    assert mean.tolist() == [3.75, 3.0]


def test_half_precision_is_summed_in_double_precision() -> None:
    updates = [w(60_000.0, dtype=np.float16)] * 3 + [w(59_968.0, dtype=np.float16)]
    assert weighted_mean(updates, [1, 1, 1, 1], ["w"])["w"].tolist() == [60_000.0]


@given(
    hnp.arrays(np.uint32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)), st.integers(1, 9)
)
def test_one_client_comes_out_bit_for_bit(bits: Any, weight: int) -> None:
    array = (
        bits.view(np.float32) if bits.ndim else np.array(bits.item(), np.uint32).view(np.float32)
    )
    mean = weighted_mean([{"w": array}], [weight], ["w"])["w"]
    assert mean.shape == array.shape
    assert mean.tobytes() == array.tobytes()


def test_negative_zero_stays() -> None:
    assert np.signbit(weighted_mean([w(-0.0), w(-0.0)], [1, 2], ["w"])["w"]).all()


@given(
    hnp.arrays(np.float32, (4, 3), elements=st.floats(-1e6, 1e6, width=32)),
    st.lists(st.integers(1, 10_000), min_size=4, max_size=4),
)
def test_the_mean_is_the_exact_mean_rounded(rows: Any, weights: list[int]) -> None:
    mean = weighted_mean([{"w": row} for row in rows], weights, ["w"])["w"]
    for j in range(3):
        exact = sum(Fraction(float(x)) * n for x, n in zip(rows[:, j], weights, strict=True)) / sum(
            weights
        )
        scale = max(abs(rows[:, j])) or 1
        # Half a unit in the last place, and of the smallest number that there is.
        most = Fraction(float(scale)) * Fraction(2) ** -24 + Fraction(2) ** -150
        assert abs(Fraction(float(mean[j])) - exact) <= most


def test_equal_clients_give_their_model_whatever_the_weights() -> None:
    array = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    for weights in itertools.product([1, 3, 799, 12_345], repeat=3):
        assert np.array_equal(weighted_mean([{"w": array}] * 3, weights, ["w"])["w"], array)


def test_shapes_are_kept_and_arrays_may_be_non_contiguous_scalar_or_empty() -> None:
    update = {
        "t": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "s": np.array(2.0, np.float32),
        "e": np.zeros((0, 4), np.float32),
    }
    mean = weighted_mean([update, update], [1, 2], ["t", "s", "e"])
    assert [mean[n].shape for n in ("t", "s", "e")] == [(3, 2), (), (0, 4)]
    assert np.array_equal(mean["t"], update["t"])


def test_only_the_tensors_named_are_formed() -> None:
    updates = [{"w": np.ones(1, np.float32), "n": np.array([i])} for i in (1, 5, 3)]
    assert list(weighted_mean(updates, WEIGHTS, ["w"])) == ["w"]
    assert elementwise_max(updates, ["n"])["n"].tolist() == [5]


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_the_maximum_keeps_the_dtype(dtype: Any) -> None:
    largest = elementwise_max([w(0, 1, 0, dtype=dtype), w(0, 0, 1, dtype=dtype)], ["w"])["w"]
    assert largest.dtype == dtype
    assert largest.tolist() == [0, 1, 1]


def test_files_and_memory_give_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    updates = [{"a": rng.normal(size=(3, PIECE)).astype(np.float32)} for _ in range(3)]
    for i, update in enumerate(updates):
        save(update, tmp_path / str(i))
    files = [TensorFile(tmp_path / str(i)) for i in range(3)]
    inside, outside = (weighted_mean(u, WEIGHTS, ["a"])["a"] for u in (updates, files))
    assert inside.tobytes() == outside.tobytes()


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_a_weight_must_be_positive(weight: float) -> None:
    with pytest.raises(Invalid, match="a weight must be a positive number"):
        weighted_mean([w(1), w(2)], [1, weight], ["w"])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"w": np.ones((2, 2), np.float32)},
            r"'w' is float32\[2, 2\] in one update and float32\[2\]",
        ),
        ({"w": np.ones(2)}, r"'w' is float32\[2\] in one update and float64\[2\] in another"),
        ({"v": np.ones(2, np.float32)}, "'w' is missing in an update"),
    ],
)
def test_nothing_is_broadcast_or_cast(other: Tensors, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        weighted_mean([w(1, 2), other], [1, 1], ["w"])


def test_no_update_or_too_few_weights() -> None:
    with pytest.raises(Invalid, match="one weight for each update"):
        weighted_mean([], [], ["w"])
    with pytest.raises(Invalid, match="one weight for each update"):
        weighted_mean([w(1), w(2)], [1], ["w"])
    with pytest.raises(Invalid, match="no update"):
        elementwise_max([], ["w"])


def test_metrics_are_averaged_over_those_who_report_them() -> None:
    rows = [(1, {"loss": 1.0, "f1": 0.5}), (3, {"loss": 5.0})]
    assert mean_metrics(rows) == {"loss": 4.0, "f1": 0.5}
    assert mean_metrics([]) == {}
