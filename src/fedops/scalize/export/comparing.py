"""Whether an exported model says what the model itself says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.errors import Invalid

Arrays = Sequence[npt.NDArray[Any]]
#: An output may differ by so much, and by such a share of itself: what float32 in another order gives.
ABSOLUTE, RELATIVE = 1e-4, 1e-3


def largest_difference(own: Arrays, exported: Arrays, names: Sequence[str]) -> float:
    """The largest difference of any output.

    Raises:
        Invalid: they differ by more than rounding does, or in kind.
    """
    if len(own) != len(exported):
        raise Invalid(f"the exported model has {len(exported)} outputs, and the model {len(own)}")
    found = [_difference(*pair) for pair in zip(own, exported, names, strict=True)]
    return max(found, default=0.0)


def _difference(own: npt.NDArray[Any], exported: npt.NDArray[Any], name: str) -> float:
    if own.shape != exported.shape:
        raise Invalid(f"'{name}' has the shape {exported.shape} there and {own.shape} here")
    if not np.issubdtype(own.dtype, np.number):
        if wrong := int((own != exported).sum()):
            raise Invalid(
                f"{wrong} of {own.size} values of '{name}' are others than the model's own"
            )
        return 0.0
    here, there = own.astype(np.float64), exported.astype(np.float64)
    difference = np.abs(here - there)
    largest = float(difference.max(initial=0.0))
    if not (difference <= ABSOLUTE + RELATIVE * np.abs(here)).all():  # so that NaN is wrong
        raise Invalid(
            f"'{name}' of the exported model differs from the model's own by up to {largest:.3g}: nothing was"
            " written; does the model draw random numbers, or depend on values in a way that a graph cannot?"
        )
    return largest


def described(arrays: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    """``input: float32, N x 28 x 28``: N is any number of examples."""
    return [
        f"{name}: {array.dtype.name}, {' x '.join(['N', *map(str, array.shape[1:])])}"
        for name, array in arrays.items()
    ]
