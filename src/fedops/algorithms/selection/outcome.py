"""What a selector hands back: whom it chose, and on request a decision on every candidate.

Sentences are made only for those that somebody reads: choosing among ten thousand takes milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.contracts import SelectionDecision

Numbers = npt.NDArray[np.float64]
#: Positions of candidates in a pool.
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """The outcome of one selection."""

    devices: Sequence[str]
    #: Indices of those that were chosen, the first choice first.
    picked: Sequence[int]
    #: Says in one sentence why the candidate with this index was chosen, or was not.
    explain: Callable[[int], str]
    scores: Numbers | None = None
    #: What the scores were made of, by name.
    parts: Mapping[str, Numbers] = field(default_factory=dict)

    @property
    def chosen(self) -> list[tuple[str, str]]:
        """Device and reason, the first choice first."""
        return [(self.devices[i], self.explain(i)) for i in self.picked]

    def decisions(self) -> Iterator[SelectionDecision]:
        """One for each candidate, by the devices' names."""
        picked = set(self.picked)
        for i in sorted(range(len(self.devices)), key=self.devices.__getitem__):
            parts = {
                name: value for name, of in self.parts.items() if _known(value := float(of[i]))
            }
            score = None if self.scores is None else float(self.scores[i])
            yield SelectionDecision(
                device=self.devices[i],
                chosen=i in picked,
                reason=self.explain(i),
                score=score if score is not None and _known(score) else None,
                parts=parts,
            )


def everyone(devices: Sequence[str]) -> Selection:
    """There is nothing to choose: all are needed."""
    several = f"all {len(devices)} available clients are needed"
    reason = several if len(devices) > 1 else "every available client is needed"
    return Selection(devices, range(len(devices)), lambda _: reason)


def _known(value: Any) -> bool:
    """Infinite stands for "before all others": it is an order, not a measurement."""
    return math.isfinite(value)
