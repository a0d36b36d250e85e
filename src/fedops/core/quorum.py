"""How many clients a round asks, needs to begin, and needs to count."""

from __future__ import annotations


def clients_wanted(
    eligible: int, clients_per_round: int | None, fraction: float, minimum: int
) -> int:
    """How many clients a round asks for: ``clients_per_round`` wins where given."""
    if clients_per_round is not None:
        return clients_per_round
    return max(minimum, int(fraction * eligible))


def clients_needed(clients_per_round: int | None, minimum: int, min_available: int) -> int:
    """How many eligible devices there must be before a round can begin."""
    if clients_per_round is not None:
        return max(clients_per_round, min_available)
    return max(minimum, min_available, 1)


def quorum(wanted: int, min_replies: int | None, minimum: int) -> int:
    """How many checked replies a round needs: ``min_replies`` wins where given, else it is the majority.

    ``minimum``: what the strategy needs in any case.
    """
    needed = max(wanted // 2 + 1, minimum) if min_replies is None else min_replies
    return max(1, min(needed, wanted))
