"""The model of a coalition: the mean of its members' updates, weighted by their examples.

    w(S) = sum of n_i w_i over S / sum of n_i over S,    w(empty) = the model that the round began with

From one coalition to the next, only clients that join or leave are added or subtracted, so coalitions in
the order of a Gray code cost one pass over one update each. Sums are in double precision and formed anew
every 64 steps: nothing drifts. Floating-point buffers, such as the running means of a batch normalisation,
are averaged like weights (evaluate in evaluation mode). Integers and what does not travel are in every
coalition those of the model that the round began with, so that they make no difference between clients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.algorithms.aggregation import check_alike, check_weights
from fedops.algorithms.contribution.coalitions import members
from fedops.algorithms.contribution.game import Utility
from fedops.core.errors import Invalid

Array = npt.NDArray[Any]
Model = Mapping[str, Array]
#: Sums are formed anew after so many steps.
FRESH_AFTER = 64


def is_averaged(array: Array) -> bool:
    """Whether coalitions have a mean of it: floating-point numbers of any width, and complex ones."""
    return array.dtype.kind not in "iub"


class CoalitionModels:
    """Makes the models of coalitions. It remembers the last one, so ask in the order of a Gray code."""

    def __init__(self, before: Model, updates: Sequence[Model], weights: Sequence[float]) -> None:
        """``before``: the model that the round began with, complete; ``updates`` may lack what stays local.

        Raises:
            Invalid: a weight that is not a positive number, or tensors of different shape or dtype.
        """
        check_weights(weights, len(updates))
        if missing := sorted(set().union(*updates) - before.keys()):
            raise Invalid(f"'{missing[0]}' is in an update and not in the model it was made from")
        names = [name for name in updates[0] if is_averaged(before[name])]
        for name in names:
            check_alike([before, *updates], name)
        self._before, self._updates, self._names = before, list(updates), names
        self._weights = [float(weight) for weight in weights]
        self._coalition, self._steps = 0, 0
        self._sums: dict[str, Array] = {}
        self._begin_anew()

    def model(self, coalition: int) -> dict[str, Array]:
        """All tensors of the coalition's model, in their own dtypes."""
        if not coalition:
            return dict(self._before)
        self._move_to(coalition)
        total = sum(self._weights[player] for player in members(coalition))
        means = {
            name: (self._sums[name] / total).astype(self._before[name].dtype)
            for name in self._names
        }
        return {**self._before, **means}

    def _move_to(self, coalition: int) -> None:
        changed = coalition ^ self._coalition
        if self._steps >= FRESH_AFTER or changed.bit_count() > coalition.bit_count():
            self._begin_anew()
            changed = coalition
        for player in members(changed):
            joins = coalition >> player & 1
            self._add(player, self._weights[player] if joins else -self._weights[player])
        self._coalition = coalition

    def _add(self, player: int, weight: float) -> None:
        self._steps += 1
        update = self._updates[player]
        for name in self._names:
            self._sums[name] += weight * update[name].astype(self._sums[name].dtype)

    def _begin_anew(self) -> None:
        self._coalition, self._steps = 0, 0
        for name in self._names:
            wide = np.complex128 if self._before[name].dtype.kind == "c" else np.float64
            self._sums[name] = np.zeros(self._before[name].shape, wide)


def utility_of_models(
    models: CoalitionModels, evaluate: Callable[[dict[str, Array]], float | Sequence[float]]
) -> Utility:
    """The utility of coalitions, when ``evaluate`` says what a model achieves."""
    return lambda coalitions: [evaluate(models.model(coalition)) for coalition in coalitions]
