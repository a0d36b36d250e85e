"""When a robust strategy defends against less than its name says: one sentence, for the log of the run.

Flower neither refuses these cases nor mentions them; they work, as a mean or a choice among too few.
"""

from __future__ import annotations

import itertools

from flwr.serverapp.strategy import Bulyan, FedMedian, FedTrimmedAvg, MultiKrum, Strategy


def unset_defence(strategy: Strategy) -> str | None:
    """What its arguments leave open, whatever the rounds will be."""
    name = type(strategy).__name__
    if isinstance(strategy, MultiKrum | Bulyan) and strategy.num_malicious_nodes == 0:
        return (
            f"{name} with num_malicious_nodes = 0, its default, expects no bad client: say how many there"
            " may be"
        )
    if isinstance(strategy, FedTrimmedAvg) and strategy.beta == 0:
        return f"{name} with beta = 0 trims nothing: it is a mean without weights"
    return None


def least_replies(strategy: Strategy) -> int:
    """With fewer, it gives no model."""
    return 4 * strategy.num_malicious_nodes + 3 if isinstance(strategy, Bulyan) else 1


def too_few(name: str, least: int, replies: int) -> str:
    """What to do where there are too few replies to make a model."""
    return (
        f"the strategy {name} makes a model of {least} replies or more (4 num_malicious_nodes + 3), and"
        f" there are {replies}: lower num_malicious_nodes, or ask more clients"
    )


def missing_defence(strategy: Strategy, replies: int) -> str | None:
    """What so few replies make of it."""
    name = type(strategy).__name__
    if isinstance(strategy, MultiKrum):
        return _krum(name, strategy.num_malicious_nodes, replies)
    if isinstance(strategy, FedTrimmedAvg):
        return _trimming(name, strategy.beta, replies)
    if isinstance(strategy, FedMedian) and replies < 3:
        return f"{name} of {replies} replies is their mean; one bad client is outvoted from 3 on"
    return None


def _krum(name: str, bad: int, replies: int) -> str | None:
    least = 2 * bad + 3
    if replies >= least:
        return None
    return (
        f"{name} tells {bad} bad clients from the others with {least} replies or more, and there are"
        f" {replies}"
    )


def _trimming(name: str, beta: float, replies: int) -> str | None:
    if beta <= 0 or int(beta * replies) > 0:
        return None
    least = next(n for n in itertools.count(replies) if int(beta * n))
    return f"{name} with beta={beta} trims nothing off {replies} replies; it does from {least} on"
