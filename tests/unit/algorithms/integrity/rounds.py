"""Rounds of federated learning in a few lines: least squares in many dimensions, honest and not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedops.algorithms.integrity.judging import Judgement, judge_round
from fedops.algorithms.integrity.update_evidence import RoundContext, measure_updates
from fedops.storage.tensors import Tensors

SIZE = 4_000


def tensors(values: np.ndarray) -> Tensors:
    return {"w": values.astype(np.float32)}


class LeastSquares:
    """Each client steps towards an aim of its own, and the aims have most in common."""

    def __init__(
        self, clients: int, skew: float, roles: Mapping[int, str] | None = None, seed: int = 0
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self.roles = roles or {}
        self._common = self._rng.normal(size=SIZE)
        self._aims = self._common + skew * self._rng.normal(size=(clients, SIZE))
        self._weights = self._rng.integers(50, 500, clients).astype(float)
        self.model = np.zeros(SIZE)
        self.previous: np.ndarray | None = None

    def play(self, rate: float = 0.2) -> list[Judgement]:
        """One round: everybody's change, what is found, and the next model."""
        changes = [self._change(i, rate) for i in range(len(self._aims))]
        shares = self._weights / self._weights.sum()
        context = RoundContext(
            None if self.previous is None else tensors(self.previous),
            [tensors(self.model - self._common)],
        )
        updates = [tensors(self.model + change) for change in changes]
        evidence = measure_updates(updates, tensors(self.model), self._weights, context)
        self.previous = shares @ np.stack(changes)
        self.model = self.model + self.previous
        return judge_round(evidence)

    def _change(self, i: int, rate: float) -> np.ndarray:
        honest = rate * (self._aims[i] - self.model) + 0.05 * self._rng.normal(size=SIZE)
        match self.roles.get(i):
            case "null":
                return np.zeros(SIZE)
            case "replay":
                return np.zeros(SIZE) if self.previous is None else self.previous
            case "noise":
                return self._rng.normal(size=SIZE)
            case "flip":
                return -honest
        return honest
