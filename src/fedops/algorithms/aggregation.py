"""Forming one model of many: the mean weighted by examples, and the elementwise maximum.

    mean = (w_1 x_1 + ... + w_n x_n) / (w_1 + ... + w_n)

The sum is formed in double precision and in the order given, so that it does not depend on who came first;
the result has the dtype of the tensors. One client's tensor comes out bit for bit. Updates are read piece
by piece (``tensors.TensorFile``), so that memory does not grow with their number. Cost: one pass over each
update. McMahan et al. 2017, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.errors import Invalid
from fedops.storage.tensors import PIECE, TensorFile, Tensors

Array = npt.NDArray[Any]
#: Named tensors in memory or in a file.
Update = Mapping[str, Array]


def weighted_mean(
    updates: Sequence[Update], weights: Sequence[float], names: Iterable[str]
) -> Tensors:
    """The mean of each tensor named, weighted by ``weights``.

    Raises:
        Invalid: no update, a weight that is not a positive number, or tensors of different shape or dtype.
    """
    check_weights(weights, len(updates))
    return _by_pieces(updates, names, lambda pieces: mean_of(pieces, weights))


def elementwise_max(updates: Sequence[Update], names: Iterable[str]) -> Tensors:
    """The largest value at each place of each tensor named: for counters. Same checks."""
    return _by_pieces(updates, names, max_of)


def mean_of(arrays: Iterable[Array], weights: Sequence[float]) -> Array:
    """The weighted mean of equally shaped arrays, taken one at a time: they may share their memory."""
    if len(weights) == 1:
        return next(iter(arrays)).copy()
    total: Array | None = None
    for array, weight in zip(arrays, weights, strict=True):
        if total is None:
            total = array.astype(_accumulator(array.dtype))
            term, dtype = np.empty_like(total), array.dtype
            total *= weight
        else:
            np.copyto(term, array, casting="unsafe")
            term *= weight
            total += term
    assert total is not None
    return np.asarray(np.divide(total, math.fsum(weights), out=total).astype(dtype))


def max_of(arrays: Iterable[Array]) -> Array:
    """The elementwise maximum of equally shaped arrays, taken one at a time: they may share their memory."""
    largest: Array | None = None
    for array in arrays:
        largest = array.copy() if largest is None else np.maximum(largest, array)
    assert largest is not None
    return largest


def piece_of(update: Update, name: str, start: int, stop: int) -> Array:
    """Elements ``start`` to ``stop`` of a tensor, flat in C order, reading no more than that."""
    if isinstance(update, TensorFile):
        return update.piece(name, start, stop)
    return update[name].reshape(-1)[start:stop]


def mean_metrics(rows: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """Each metric's mean over those who report it, weighted."""
    names = dict.fromkeys(name for _, metrics in rows for name in metrics)
    return {name: _mean([(w, m[name]) for w, m in rows if name in m]) for name in names}


def check_weights(weights: Sequence[float], count: int) -> None:
    """As many weights as updates, and each a positive, finite number."""
    if not count or len(weights) != count:
        raise Invalid(f"a mean needs one weight for each update: {count} and {len(weights)} given")
    bad = [w for w in weights if not (math.isfinite(w) and w > 0)]
    if bad:
        raise Invalid(f"a weight must be a positive number, not {bad[0]}")


def _by_pieces(
    updates: Sequence[Update], names: Iterable[str], combine: Callable[[Iterable[Array]], Array]
) -> Tensors:
    if not updates:
        raise Invalid("there is no update to aggregate")
    return {name: _tensor(updates, name, combine) for name in names}


def _tensor(
    updates: Sequence[Update], name: str, combine: Callable[[Iterable[Array]], Array]
) -> Array:
    shape, dtype = check_alike(updates, name)
    out = np.empty(math.prod(shape), dtype)
    for start in range(0, out.size, PIECE):
        stop = min(start + PIECE, out.size)
        out[start:stop] = combine(piece_of(u, name, start, stop) for u in updates)
    return out.reshape(shape)


def check_alike(updates: Sequence[Update], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and dtype that all updates have for a tensor; arrays are never broadcast."""
    seen = {_spec(update, name) for update in updates}
    if len(seen) > 1:
        (first, other) = sorted(f"{dtype}{list(shape)}" for shape, dtype in seen)[:2]
        raise Invalid(f"'{name}' is {first} in one update and {other} in another")
    return seen.pop()


def _spec(update: Update, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if name not in update:
        raise Invalid(f"'{name}' is missing in an update")
    if isinstance(update, TensorFile):
        return update.shape(name), update.dtype(name)
    return update[name].shape, update[name].dtype


def _accumulator(dtype: np.dtype[Any]) -> type[Any]:
    return np.complex128 if dtype.kind == "c" else np.float64


def _mean(rows: Sequence[tuple[float, float]]) -> float:
    return math.fsum(w * value for w, value in rows) / math.fsum(w for w, _ in rows)
