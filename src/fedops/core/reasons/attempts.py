"""Why an attempt is as it is: one sentence, as for runs."""

from __future__ import annotations

from dataclasses import dataclass

from fedops.core.contracts import EngineProgress
from fedops.core.reasons.durations import duration_of_limit
from fedops.core.states import AttemptStatus


@dataclass(frozen=True)
class AttemptFacts:
    """An attempt, at one moment."""

    status: AttemptStatus
    pid: int | None
    #: Since it was made, or since its engine began what it does now.
    seconds: float
    #: How long it may go on so before it is given up. None: it is over.
    limit_seconds: float | None
    progress: EngineProgress | None = None
    #: How it ended.
    reason: str | None = None


def phase_text(progress: EngineProgress | None) -> str:
    """What an engine does: ``training in round 3``."""
    return f"{progress.phase} in round {progress.round}" if progress else "beginning"


def attempt_why(attempt: AttemptFacts) -> str:
    """What an attempt is doing, for how long and how long it may, or how it ended."""
    lasting = duration_of_limit(attempt.seconds, attempt.limit_seconds)
    if attempt.status is AttemptStatus.STARTING:
        return f"its FL server has been starting for {lasting}"
    if attempt.status is AttemptStatus.RUNNING:
        doing = phase_text(attempt.progress)
        return f"its FL server (process {attempt.pid}) is {doing} for {lasting}"
    if attempt.status is AttemptStatus.ENDED and attempt.reason:
        return attempt.reason  # it says by itself how
    because = f": {attempt.reason}" if attempt.reason else ""
    return f"{attempt.status.value}{because}"
