"""What updates were worth in multiples of what those of their round were: rounds can then be compared.

An update of the first rounds changes the loss more than one of the last. Without that, who was asked early
would seem to be worth most for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fedops.algorithms.contribution.estimate import Estimate


@dataclass
class RelativeValues:
    """Of each device: the sum, the sum of the squared errors, the number of rounds."""

    sums: dict[str, list[float]]

    @classmethod
    def of(cls, sums: Mapping[str, Sequence[float]]) -> Self:
        return cls({name: list(one) for name, one in sums.items()})

    def add(self, devices: Sequence[str], found: Estimate | None) -> None:
        """One more round; None: without values."""
        if found is None:
            return
        size = float(np.abs(found.values).mean()) or 1.0
        for i, device in enumerate(devices):
            one = self.sums.setdefault(device, [0.0, 0.0, 0.0])
            one[0] += float(found.values[i]) / size
            one[1] += (float(found.standard_errors[i]) / size) ** 2
            one[2] += 1.0

    def mean(self, device: str) -> float | None:
        """None before its first round with values."""
        one = self.sums.get(device)
        return one[0] / one[2] if one else None

    def error(self, device: str) -> float:
        """The standard error of the mean."""
        one = self.sums.get(device)
        return math.sqrt(one[1]) / one[2] if one else 0.0
