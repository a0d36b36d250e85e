"""What every method returns: a number for each client, how sure it is, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fedops.algorithms.contribution.coalitions import Floats


@dataclass(frozen=True, eq=False)
class Estimate:
    """Values of the clients of one round, in the order of the game's players."""

    method: str
    values: Floats
    #: Of each value; 0 where it is exact.
    standard_errors: Floats
    #: How many distinct coalitions the game has evaluated, those of earlier estimates included.
    evaluations: int
    #: The same values for each class alone: one row a client. No columns where the utility has no classes.
    by_class: Floats
    #: Whether nothing was sampled.
    exact: bool = False
    #: What whoever reads the numbers should know, in sentences.
    notes: tuple[str, ...] = field(default=())

    @property
    def table(self) -> Floats:
        """One row a client: the value, then its classes."""
        return np.column_stack([self.values, self.by_class])

    @property
    def interval(self) -> tuple[Floats, Floats]:
        """Between which numbers each value lies with a probability of 90 %."""
        half = 1.6449 * self.standard_errors
        return self.values - half, self.values + half


def exact_estimate(
    method: str, table: Floats, evaluations: int, notes: tuple[str, ...] = ()
) -> Estimate:
    """``table``: one row a client; column 0 is the value, the others are the classes."""
    nothing = np.zeros(len(table))
    return Estimate(method, table[:, 0], nothing, evaluations, table[:, 1:], True, notes)


def sampled_estimate(
    method: str, table: Floats, errors: Floats, evaluations: int, notes: tuple[str, ...] = ()
) -> Estimate:
    """As ``exact_estimate``, with the standard errors of the column 0."""
    return Estimate(method, table[:, 0], errors, evaluations, table[:, 1:], False, notes)
