"""A model that is not the script's own: whoever trains it has been given it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.scalize.adapter.parameter_exchange import is_floating
from fedops.storage.tensors import Tensors

#: Of a tensor's spread: more breaks scripts that check the range of what their model gives.
_SHARE = 0.01
_CONSTANT = 1e-3
_SEED = 20_261


def foreign_model(model: Tensors) -> Tensors:
    """Each floating tensor plus up to a hundredth of its spread and a small constant; others as they are.

    Nothing is made smaller, so that variances stay positive. Tensors of whole numbers stay too: masks and
    counters are kept in them. A tensor that is held under two names is in ``model`` once.
    """
    random = np.random.default_rng(_SEED)
    return {name: _moved(array, random) for name, array in model.items()}


def _moved(array: npt.NDArray[Any], random: np.random.Generator) -> npt.NDArray[Any]:
    if not is_floating(array.dtype.name) or not array.size:
        return array
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    if not finite.size or _is_a_mask(wide, finite):
        return array
    spread = float(finite.max() - finite.min())
    noise, constant = random.random(wide.shape) * _SHARE * spread, _CONSTANT
    moved = (wide + noise + constant).astype(array.dtype)
    while moved.tobytes() == array.tobytes():  # too coarse a dtype for so small a step
        constant *= 2
        moved = (wide + noise + constant).astype(array.dtype)
    return moved


def _is_a_mask(wide: npt.NDArray[np.float64], finite: npt.NDArray[np.float64]) -> bool:
    """Zeros and ones, or what is not finite, in one tensor: nothing that training moves."""
    if finite.size < wide.size:
        return True
    return set(np.unique(finite[:10_000]).tolist()) == {0.0, 1.0}
