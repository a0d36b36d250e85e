"""Where two models part, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.scalize.adapter.parameter_exchange import is_floating
from fedops.storage.tensors import Tensors


def first_difference(one: Tensors, other: Tensors) -> str:
    """The first tensor whose bits differ, with how much they do; "" when all are the same."""
    for name in one:
        if name not in other:
            return f"'{name}', which only the first of them has"
        if text := _difference(one[name], other[name]):
            return f"'{name}': {text}"
    more = next((name for name in other if name not in one), "")
    return f"'{more}', which only the second of them has" if more else ""


def _difference(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> str:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return (
            f"{one.dtype.name}{list(one.shape)} and {other.dtype.name}{list(other.shape)}, "
            "which cannot be compared"
        )
    if one.tobytes() == other.tobytes():
        return ""
    different = _bytes_of(one) != _bytes_of(other)
    count = int(different.any(axis=1).sum())
    return f"{count} of {one.size} values differ{_by(one, other)}"


def _bytes_of(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """One row of bytes a value."""
    return np.frombuffer(array.tobytes(), np.uint8).reshape(array.size, array.dtype.itemsize)


def _by(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> str:
    if not is_floating(one.dtype.name):
        return ""
    apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
    apart = apart[np.isfinite(apart)]
    return f", by up to {apart.max():.3g}" if apart.size else ""
