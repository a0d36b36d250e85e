"""FLTrust: updates weigh as much as they agree with an update that the server made itself.

    g_0 = root update - w,  g_i = w_i - w          changes of the model w
    t_i = max(0, cos(g_i, g_0))                    trust
    w + sum of t_i (|g_0| / |g_i|) g_i / sum of t_i

Every change is brought to the length of the server's, so that none outweighs the others by its size, and one
that goes against it counts nothing. Where nobody is trusted, the model stays as it is. How many examples a
client claims does not matter. Cost: two passes over the updates. Cao and others 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedops.algorithms.aggregation import check_alike
from fedops.algorithms.inner_products import Floats, Named, cosine, inner_products
from fedops.core.errors import Invalid
from fedops.storage.tensors import Tensors


def fltrust(updates: Sequence[Named], before: Named, root: Named) -> tuple[Tensors, list[float]]:
    """The next model in double precision, and how much each update was trusted.

    Raises:
        Invalid: no update, or tensors of different names, shape or dtype.
    """
    if not updates:
        raise Invalid("there is no update to aggregate")
    for name in before:
        check_alike([before, root, *updates], name)
    products = inner_products([*updates, root], before, [])
    trust = trust_scores(products)
    factors = _factors(products, trust)
    return {name: _moved(before, updates, factors, name) for name in before}, trust


def trust_scores(products: Floats) -> list[float]:
    """``products``: inner products of the changes, the server's own being the last."""
    own = len(products) - 1
    squares = np.diag(products)
    return [max(0.0, cosine(products[i, own], squares[i], squares[own])) for i in range(own)]


def _factors(products: Floats, trust: Sequence[float]) -> list[float]:
    """What each change is multiplied by in the sum; all 0 where nobody is trusted."""
    norms = np.sqrt(np.diag(products))
    total = sum(trust)
    return [t * norms[-1] / norms[i] / total if t > 0 else 0.0 for i, t in enumerate(trust)]


def _moved(before: Named, updates: Sequence[Named], factors: Sequence[float], name: str) -> Floats:
    start = before[name].astype(np.float64)
    moved = start.copy()
    for update, factor in zip(updates, factors, strict=True):
        if factor:
            moved += factor * (update[name].astype(np.float64) - start)
    return moved
