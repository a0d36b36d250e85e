"""What the engine asks of whoever scores a round: a job in files and numbers, and its scores back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fedops.core.contracts import RoundScores, ScoringPlan


@dataclass(frozen=True)
class UpdateFile:
    """One client's update, as it was checked."""

    device: str
    path: Path
    examples: int


@dataclass(frozen=True)
class ScoringJob:
    """One committed round."""

    round: int
    plan: ScoringPlan
    seed: int
    #: The model that the round began with. None: it is not kept.
    before: Path | None
    #: The one that the round before it began with. None: it is the first, or is not kept.
    previous: Path | None
    updates: Sequence[UpdateFile]
    #: What the history is of, and the history until now; empty: it begins.
    basis: Mapping[str, str]
    history: Mapping[str, Any] = field(default_factory=dict)


class ScoringFailed(Exception):
    """A round cannot be scored. The text says why."""


class Scorer(Protocol):
    """Scores one round at a time, in a process of its own. It costs the rounds no time."""

    def score(self, job: ScoringJob, seconds: float) -> RoundScores:
        """``ScoringFailed`` when it cannot be done, or takes longer than so many seconds."""
        ...

    def close(self) -> None:
        """End at once, whatever it is at."""
        ...
