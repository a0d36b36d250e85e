"""What the engine asks of whoever scores a round: a job in files and numbers, and its scores back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fedops.core.contracts import Delivery, RoundScores, ScoringPlan


@dataclass(frozen=True)
class UpdateFile:
    """One client's update, as it was checked."""

    device: str
    path: Path
    examples: int


@dataclass(frozen=True)
class ModelFile:
    """A model as clients are given it."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Evaluated:
    """What one client measured: of the model of all clients, then of those without each; None: not asked."""

    utilities: Sequence[float | None]
    examples: int


@dataclass(frozen=True)
class Evaluations:
    """What the clients of a round measured. Nothing, with the reason, when no value can be made of it."""

    by_device: Mapping[str, Evaluated] = field(default_factory=dict)
    note: str = ""
    #: What it took the slow ones, in all and for one model. Seconds.
    seconds: float = 0.0
    each: float = 0.0
    #: The metric that the utilities are made of.
    metric: str = ""


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
    #: What evaluating a model takes a client, as far as known. Seconds.
    each: float = 0.0
    #: None: the server evaluates, or nobody does.
    evaluations: Evaluations | None = None


class ScoringFailed(Exception):
    """A round cannot be scored. The text says why."""


class Scorer(Protocol):
    """Scores one round at a time, in a process of its own. It costs the rounds no time."""

    @property
    def is_ready(self) -> bool:
        """Whether it would begin at once: it opens the app first."""
        ...

    def score(self, job: ScoringJob, seconds: float) -> RoundScores:
        """``ScoringFailed`` when it cannot be done, or takes longer than so many seconds."""
        ...

    def build(self, job: ScoringJob, seconds: float) -> list[ModelFile]:
        """The models of all clients, then without each, in the spool. It fails as ``score`` does."""
        ...

    def close(self) -> None:
        """End at once, whatever it is at."""
        ...


class ClientEvaluator(Protocol):
    """Has the models of coalitions evaluated by the clients of their round, in spare time of theirs."""

    def take(self, delivery: Delivery) -> bool:
        """Whether it is what became of such an evaluation. From the thread that plays the rounds."""
        ...

    def begun(self, round_: int) -> None:
        """This round's clients are asked to train: now those of the rounds before may be asked."""
        ...

    def awaited(self, round_: int) -> None:
        """Somebody waits for the scores of this round: who does not answer soon is left out."""
        ...

    def evaluate(self, job: ScoringJob, build: Callable[[], list[ModelFile]]) -> Evaluations:
        """Ask, and wait for the answers. ``ScoringFailed`` when it was closed meanwhile."""
        ...

    def close(self) -> None:
        """Wait no more."""
        ...
