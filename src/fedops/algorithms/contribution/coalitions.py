"""Coalitions as bit masks: client i takes part where bit i is set; 0 is the empty coalition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


def grand_coalition(players: int) -> int:
    """All of them."""
    return (1 << players) - 1


def members(coalition: int) -> Iterator[int]:
    """Who takes part, ascending."""
    while coalition:
        lowest = coalition & -coalition
        yield lowest.bit_length() - 1
        coalition ^= lowest


def coalition_of(players: Iterable[int]) -> int:
    """The coalition of these players, each of whom is named once."""
    return sum(1 << player for player in players)


def membership(coalitions: Sequence[int], players: int) -> Booleans:
    """One row a coalition, one column a player: whether the player takes part."""
    rows = [
        [bool(coalition >> player & 1) for player in range(players)] for coalition in coalitions
    ]
    return np.array(rows, np.bool_).reshape(len(coalitions), players)


def gray_order(coalitions: Iterable[int]) -> list[int]:
    """Sorted as a Gray code visits them: of all coalitions, each differs from the next by one client."""
    return sorted(coalitions, key=_gray_position)


def _gray_position(coalition: int) -> int:
    """Where the binary reflected Gray code has it: position p holds p XOR p/2."""
    position, shift = coalition, 1
    while coalition >> shift:
        position ^= coalition >> shift
        shift += 1
    return position
