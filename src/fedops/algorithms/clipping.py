"""Bounding one client's influence: an update is scaled down to a given length.

    x' = g + (x - g) min(1, c / |x - g|),   |.| over all tensors together

g: the model the client received, c: the bound. McMahan et al. 2018, "flat clipping".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.storage.tensors import Tensors


def clip_update(
    after: Mapping[str, npt.NDArray[Any]],
    before: Mapping[str, npt.NDArray[Any]],
    names: Iterable[str],
    bound: float,
) -> tuple[Tensors, bool]:
    """The named tensors of ``after``, clipped, and whether clipping changed them."""
    names = list(names)
    deltas = {name: after[name].astype(np.float64) - before[name] for name in names}
    length = math.sqrt(math.fsum(float(np.vdot(d, d).real) for d in deltas.values()))
    if length <= bound:
        return {name: after[name] for name in names}, False
    scale = bound / length
    return {n: (before[n] + d * scale).astype(after[n].dtype) for n, d in deltas.items()}, True
