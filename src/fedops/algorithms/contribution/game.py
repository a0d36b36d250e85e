"""The game that clients play in a round: what each coalition of them achieves, evaluated within a budget.

The cost of an estimate is the number of distinct coalitions that were evaluated: each is evaluated once and
kept. ``v(S) = U(S) - U(empty)``, where the empty coalition is the model that the round began with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedops.algorithms.contribution.coalitions import Floats, grand_coalition, gray_order, members
from fedops.core.errors import Invalid, Unavailable


class BudgetExceeded(Unavailable):
    """More evaluations are needed than were allowed. What was evaluated until then is kept."""


class Utility(Protocol):
    """What coalitions achieve, for example the mean log-likelihood on the server's validation set.

    One row for each coalition: a number, or a number and behind it one for each class.
    """

    def __call__(self, coalitions: Sequence[int]) -> npt.ArrayLike:
        """Larger is better. The coalitions are different, and in the order of a Gray code."""
        ...


class Game:
    """A utility whose answers are kept, and which is asked no more often than allowed."""

    def __init__(
        self,
        players: int,
        utility: Utility,
        max_evaluations: int | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        if players < 1:
            raise Invalid("a game needs at least one client")
        if max_evaluations is not None and max_evaluations < 1:
            raise Invalid(f"the budget must be at least 1 evaluation, not {max_evaluations}")
        if weights is not None and len(weights) != players:
            raise Invalid(f"{players} clients and {len(weights)} weights")
        self.players = players
        self.grand = grand_coalition(players)
        self.max_evaluations = max_evaluations
        #: How much each client weighs in a coalition's mean, where the game is made of models.
        self.weights = None if weights is None else np.asarray(weights, np.float64)
        self._utility = utility
        self._known: dict[int, Floats] = {}

    @property
    def evaluations(self) -> int:
        """How many distinct coalitions were evaluated."""
        return len(self._known)

    @property
    def remaining(self) -> float:
        """How many more may be evaluated; infinite without a budget."""
        limit = np.inf if self.max_evaluations is None else self.max_evaluations
        return limit - self.evaluations

    @property
    def known(self) -> Mapping[int, Floats]:
        """What was evaluated so far: the total and, where there are classes, one number for each."""
        return self._known

    def cost_of(self, coalitions: Iterable[int]) -> int:
        """How many evaluations it would take to know these."""
        return len(set(coalitions) - self._known.keys())

    def payoffs(self, coalitions: Sequence[int]) -> Floats:
        """U of each: the column 0 is the total, the others are the classes.

        Raises:
            BudgetExceeded: before any of them is evaluated.
            Invalid: the utility is not a finite number for one of them.
        """
        unknown = gray_order(set(coalitions) - self._known.keys())
        if len(unknown) > self.remaining:
            raise BudgetExceeded(
                f"{len(unknown)} more evaluations are needed, and {self.remaining} of"
                f" {self.max_evaluations} are left"
            )
        if unknown:
            self._evaluate(unknown)
        return np.stack([self._known[coalition] for coalition in coalitions])

    def payoff(self, coalition: int) -> Floats:
        """U of one coalition."""
        return np.asarray(self.payoffs([coalition])[0])

    def gains(self, coalitions: Sequence[int]) -> Floats:
        """v of each: what it achieves beyond the empty coalition."""
        found = self.payoffs([0, *coalitions])
        return np.asarray(found[1:] - found[0])

    def _evaluate(self, unknown: Sequence[int]) -> None:
        found = np.asarray(self._utility(unknown), np.float64)
        rows = found.reshape(len(found), -1) if found.ndim else found.reshape(1, 1)
        if len(rows) != len(unknown):
            raise Invalid(f"the utility gave {len(rows)} rows for {len(unknown)} coalitions")
        for coalition, row in zip(unknown, rows, strict=True):
            if not np.isfinite(row).all():
                raise Invalid(
                    f"the utility of the coalition of clients {list(members(coalition))} is not a"
                    " finite number; bound it, for example by a least probability"
                )
            self._known[coalition] = row
