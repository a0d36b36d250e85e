"""Inner products of updates, taken over all floating-point tensors together, in blocks of coordinates.

Everything that compares directions and lengths of updates (DIG-FL, CGSV, integrity, FLTrust) follows from
these few numbers, and memory holds one block of each update. Differences are formed in double precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Named = Mapping[str, Array]
#: Coordinates at a time.
BLOCK = 1 << 16


def inner_products(updates: Sequence[Named], before: Named, directions: Sequence[Named]) -> Floats:
    """The matrix of all inner products among the changes ``updates - before``, then the ``directions``.

    Directions (a gradient, the previous change) are taken as they are, over the tensors that updates have;
    where a direction lacks one, it is 0 there.
    """
    count = len(updates) + len(directions)
    total = np.zeros((count, count))
    for name in compared_names(updates[0]):
        flat = [update[name].reshape(-1) for update in updates]
        start = before[name].reshape(-1)
        others = [one[name].reshape(-1) if name in one else None for one in directions]
        for low in range(0, start.size, BLOCK):
            rows = _block(flat, start, others, slice(low, low + BLOCK))
            total += rows @ rows.T
    return total


def compared_names(update: Named) -> list[str]:
    """The tensors that have a direction: not the integers."""
    return [name for name in update if update[name].dtype.kind not in "iubc"]


def _block(
    updates: Sequence[Array], before: Array, directions: Sequence[Array | None], part: slice
) -> Floats:
    base = before[part].astype(np.float64)
    changes = [update[part].astype(np.float64) - base for update in updates]
    nothing = np.zeros_like(base)
    others = [nothing if one is None else one[part].astype(np.float64) for one in directions]
    return np.stack([*changes, *others])


def dimensions(update: Named) -> int:
    """How many coordinates are compared."""
    return sum(update[name].size for name in compared_names(update))


def cosine(product: float, square: float, other_square: float) -> float:
    """Of two directions, by their inner products; 0 where one has no length."""
    lengths = np.sqrt(max(square, 0.0)) * np.sqrt(max(other_square, 0.0))
    return float(np.clip(product / lengths, -1.0, 1.0)) if lengths > 0 else 0.0
