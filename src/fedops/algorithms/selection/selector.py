"""What a selector is: a function of the candidates' histories, with no memory of its own.

Whatever it may remember is in the candidates, and chance comes from the generator that it is given, so that
a run continued by another process selects as the one before would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedops.algorithms.selection.outcome import Selection
from fedops.core.contracts import Candidate


@dataclass(frozen=True)
class RoundAhead:
    """The round that clients are chosen for."""

    number: int
    #: How many devices the run has that may take part, available or not.
    devices: int
    #: How many clients a round of the run invites.
    clients: int
    #: The first round of the run.
    first: int = 1


class Selector(Protocol):
    """Chooses the clients of a round."""

    @property
    def measures_time(self) -> bool:
        """Whether it goes by seconds that were measured: played again, a run may then select otherwise."""
        ...

    def select(
        self,
        candidates: Sequence[Candidate],
        wanted: int,
        rng: np.random.Generator,
        ahead: RoundAhead,
    ) -> Selection:
        """Up to ``wanted`` of the candidates, with a decision on each of them."""
        ...
