"""What will happen in a run, in one line, before it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedops.core.reasons.durations import pluralised


@dataclass(frozen=True)
class RunPlan:
    """The numbers of a run that is about to begin."""

    #: Devices that could be asked now.
    ready: int
    #: How many of them a round asks.
    wanted: int
    #: With how many updates a round counts.
    counts_with: int
    rounds: int
    #: Further devices that are ready and have validation data only.
    evaluating: int = 0
    #: With how many it should count by its config.
    min_replies: int | None = None
    #: What else whoever starts it should know.
    notes: Sequence[str] = ()


def plan_text(plan: RunPlan) -> str:
    """``5 devices ready, all 5 each round, 10 rounds, a round counts with 3``."""
    parts = [*_ready(plan), _each_round(plan)]
    parts += [pluralised(plan.rounds, "round"), _counts_with(plan)]
    return "; ".join([", ".join(parts), *plan.notes])


def _counts_with(plan: RunPlan) -> str:
    text = f"a round counts with {plan.counts_with}"
    if plan.min_replies is None or plan.min_replies <= plan.counts_with:
        return text
    return f"{text} (min_replies is {plan.min_replies}, but no more are asked)"


def _ready(plan: RunPlan) -> list[str]:
    if not plan.evaluating:
        return [f"{pluralised(plan.ready, 'device')} ready"]
    train = f"{pluralised(plan.ready, 'device')} train{'s' if plan.ready == 1 else ''}"
    return [train, f"{plan.evaluating} evaluate{'s' if plan.evaluating == 1 else ''} only"]


def _each_round(plan: RunPlan) -> str:
    if plan.ready < plan.wanted:
        return f"a round asks {plan.wanted}"
    if plan.ready == plan.wanted:
        return "it takes part in each round" if plan.ready == 1 else f"all {plan.ready} each round"
    return f"{plan.wanted} of your {plan.ready} devices each round"
