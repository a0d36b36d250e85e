"""What the round engine asks of a strategy, whoever made it: to configure a round, to form the next model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from fedops.core.contracts.training import ConfigValue
from fedops.storage.tensors import Tensors

#: Named tensors in memory or in a file.
TensorMap = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class SamplingNumbers:
    """How many clients a strategy asks for."""

    fraction_train: float
    min_train: int
    min_available: int
    fraction_evaluate: float
    min_evaluate: int

    def evaluators(self, available: int, chosen: int) -> int:
        """How many of the chosen clients are to evaluate the model they receive."""
        if self.fraction_evaluate == 0.0:
            return 0
        return min(chosen, max(self.min_evaluate, int(self.fraction_evaluate * available)))


@dataclass(frozen=True)
class ClientUpdate:
    """What one client gives to an aggregation."""

    node_id: int
    examples: int
    metrics: Mapping[str, float]
    tensors: TensorMap


class AggregationPort(Protocol):
    """The strategy of one run. What it raises is ``Invalid``, with its name and the round.

    A strategy that takes the median of the updates, and remembers nothing:

    >>> import numpy as np
    >>> from fedops.engine.aggregation_port import ClientUpdate, SamplingNumbers
    >>> class Median:
    ...     name, numbers = "Median", SamplingNumbers(1.0, 2, 2, 1.0, 2)
    ...     def is_plain_mean(self): return False
    ...     def takes_mean(self): return False
    ...     def export_state(self): return {}
    ...     def import_state(self, state): pass
    ...     def configure(self, round_, model, node_ids): return {node: {} for node in node_ids}
    ...     def aggregate(self, round_, before, updates):
    ...         return {k: np.median([u.tensors[k] for u in updates], axis=0) for k in before}
    >>> updates = [ClientUpdate(n, 10, {}, {"w": np.full(2, value)}) for n, value in enumerate((1, 2, 99))]
    >>> Median().aggregate(1, {"w": np.zeros(2)}, updates)["w"].tolist()
    [2.0, 2.0]
    """

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def numbers(self) -> SamplingNumbers:
        """How many clients it asks for."""
        ...

    def is_plain_mean(self) -> bool:
        """Whether the weighted mean of the updates is the next model, with nothing done to it."""
        ...

    def takes_mean(self) -> bool:
        """Whether it aggregates one update that carries the weighted mean, instead of every client's."""
        ...

    def export_state(self) -> Tensors:
        """What it must remember beside the model: momenta and the like. Empty for most."""
        ...

    def import_state(self, state: Tensors) -> None:
        """Go on from an exported state."""
        ...

    def configure(
        self, round_: int, model: Callable[[], TensorMap], node_ids: Sequence[int]
    ) -> dict[int, dict[str, ConfigValue]]:
        """What it tells each of the nodes that it wants."""
        ...

    def aggregate(self, round_: int, before: TensorMap, updates: Sequence[ClientUpdate]) -> Tensors:
        """The next model by its own rule, in whatever dtype it comes."""
        ...
