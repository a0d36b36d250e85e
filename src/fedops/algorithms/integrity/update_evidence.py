"""What one round shows of each update, in numbers that a person can check.

    change      d_i = w_i - w_t, over all floating-point tensors
    alignment   cos(d_i, weighted mean of the other clients' changes)
    replay      cos(d_i, w_t - w_(t-1)): the change that the server itself sent out
    promise     -<gradient of the validation loss at w_t, d_i>, total and by class (DIG-FL without n_i)
    removal     [U(N) - U(N without i)] (1 - p_i) / p_i: leave-one-out, as if all weighed the same

A client that has few classes harms the others at first; what counts is what it gives to any class. So the
gains are summed over the classes that gain: ``sum of max(0, gain of class c)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedops.algorithms.inner_products import Floats, Named, cosine, dimensions, inner_products


@dataclass(frozen=True)
class UpdateEvidence:
    """Of one update in one round. None: what it needs was not there."""

    #: The client's share of all examples in the round.
    share: float
    norm: float
    #: The norm, in multiples of the median of the other clients'. None: nobody else changed anything.
    norm_ratio: float | None = None
    alignment: float | None = None
    replay: float | None = None
    #: How far it is from that change, in multiples of its length.
    replay_distance: float | None = None
    #: What the update promises for the validation set, by its gradient.
    promise: float | None = None
    #: The same, summed over the classes that gain; without classes as above.
    promised_gain: float | None = None
    #: The cosine between the change and the step that lowers the validation loss most.
    direction: float | None = None
    #: What the round's model would lose without it.
    removal: float | None = None
    #: The same, summed over the classes that would lose; without classes as above.
    removal_gain: float | None = None
    #: How many numbers the directions have.
    dimensions: int = 0


@dataclass(frozen=True)
class RoundContext:
    """What there is beside the updates; all of it may be absent."""

    #: How the global model changed in the round before: w_t - w_(t-1).
    previous_change: Named | None = None
    #: Of the validation loss at w_t, then of each class.
    gradients: Sequence[Named] = ()
    #: Leave-one-out of each client: a column for the total, then one for each class.
    leave_one_out: Floats | None = None


def measure_updates(
    updates: Sequence[Named],
    before: Named,
    weights: Sequence[float],
    context: RoundContext | None = None,
) -> list[UpdateEvidence]:
    """The evidence on each update, in one pass over all of them."""
    context = context or RoundContext()
    previous = [] if context.previous_change is None else [context.previous_change]
    products = inner_products(updates, before, [*previous, *context.gradients])
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    size = dimensions(updates[0])
    return [
        _evidence(i, products, shares, len(previous), context.leave_one_out, size)
        for i in range(len(updates))
    ]


def _evidence(
    i: int,
    products: Floats,
    shares: Floats,
    previous: int,
    leave_one_out: Floats | None,
    size: int,
) -> UpdateEvidence:
    count = len(shares)
    squares = np.diag(products)
    gradients = slice(count + previous, None)
    promises = -products[i, gradients]
    removals = np.zeros(0) if leave_one_out is None else leave_one_out[i]
    removals = removals * (1 - shares[i]) / shares[i]
    first = count + previous
    return UpdateEvidence(
        share=float(shares[i]),
        norm=float(np.sqrt(squares[i])),
        norm_ratio=_norm_ratio(i, np.sqrt(squares[:count])),
        alignment=_alignment(i, products[:count, :count], shares),
        replay=cosine(products[i, count], squares[i], squares[count]) if previous else None,
        replay_distance=_distance(products, i, count) if previous else None,
        promise=float(promises[0]) if len(promises) else None,
        promised_gain=_gain(promises),
        direction=cosine(promises[0], squares[i], squares[first]) if len(promises) else None,
        removal=float(removals[0]) if len(removals) else None,
        removal_gain=_gain(removals),
        dimensions=size,
    )


def _norm_ratio(i: int, norms: Floats) -> float | None:
    others = np.delete(norms, i)
    middle = float(np.median(others)) if len(others) else 0.0
    return float(norms[i] / middle) if middle > 0 else None


def _alignment(i: int, products: Floats, shares: Floats) -> float | None:
    """To the others' mean; None when there are none, or they changed nothing."""
    others = shares.copy()
    others[i] = 0.0
    square = float(others @ products @ others)
    return cosine(float(products[i] @ others), products[i, i], square) if square > 0 else None


def _distance(products: Floats, i: int, other: int) -> float | None:
    """From one direction to another, in multiples of the other's length; None when that has none."""
    if products[other, other] <= 0:
        return None
    square = products[i, i] - 2 * products[i, other] + products[other, other]
    return float(np.sqrt(max(square, 0.0) / products[other, other]))


def _gain(values: Floats) -> float | None:
    """``values``: the total, then the classes, if there are any."""
    if len(values) == 0:
        return None
    return float(np.maximum(values[1:], 0).sum()) if len(values) > 1 else float(values[0])
