"""What the updates of a round were worth: how they are scored, and what came of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from fedops.core.contracts.assignments import Delivery
from fedops.core.contracts.base import BlobRef, Finite, Reply, Report, Said, ShortText


class ScoringPlan(Report):
    """How a round's updates are scored. It is part of the round's commit, so whoever goes on scores alike."""

    #: The estimator of the values. None: only the directions of the updates are looked at.
    method: ShortText | None = None
    #: How many models of coalitions are evaluated at most, each on so many validation examples.
    evaluations: int = Field(default=0, ge=0)
    examples: int = Field(default=0, ge=0)
    #: Who evaluates them: the server on its validation data, or the round's clients on their own.
    evaluated_by: Literal["server", "clients"] = "server"
    #: Why it is not more, if it is not.
    note: Said = Field(default="", max_length=1_000)


class IntegrityFinding(Report):
    """What the updates of a client are found to be ("replay"), with the evidence in a sentence."""

    kind: ShortText
    evidence: Said = Field(max_length=1_000)


class ClientScore(Report):
    """One client in one round. None: what it takes was not there."""

    device: str
    #: What its update was worth, with the standard error.
    value: Finite | None = None
    value_error: Finite | None = None
    #: The same for each class of the validation data.
    by_class: list[Finite] = Field(default_factory=list, max_length=1_000)
    #: The labels of these classes, as the validation data has them.
    classes: list[ShortText] = Field(default_factory=list, max_length=1_000)
    dig_fl: Finite | None = None
    cgsv: Finite | None = None
    #: 0 is typical, below 0 is worse than its fellows, -6 the least.
    integrity: Finite | None = None
    findings: list[IntegrityFinding] = Field(default_factory=list, max_length=20)
    evidence: dict[ShortText, Finite] = Field(default_factory=dict, max_length=50)


class ClientStanding(Report):
    """One client over all scored rounds: two numbers, never one."""

    device: str
    #: The sum over the rounds, with its standard error, over so many rounds.
    value: Finite = 0.0
    value_error: Finite = 0.0
    rounds: int = Field(default=0, ge=0)
    by_class: list[Finite] = Field(default_factory=list, max_length=1_000)
    #: The labels of these classes, as the validation data has them.
    classes: list[ShortText] = Field(default_factory=list, max_length=1_000)
    #: The mean over the rounds of the value in multiples of the mean size of the round's values.
    relative: Finite | None = None
    relative_error: Finite = 0.0
    #: The mean score of its last rounds, and what they confirm.
    integrity: Finite | None = None
    findings: list[IntegrityFinding] = Field(default_factory=list, max_length=20)

    @property
    def mean_value(self) -> float | None:
        """The value of a round; None before the first."""
        return self.value / self.rounds if self.rounds else None


class RoundScores(Report):
    """The scores of a committed round, and the history with it."""

    round: int = Field(ge=1)
    #: What really was done; it may be less than planned. None: no values.
    method: ShortText | None = None
    evaluations: int = Field(default=0, ge=0)
    examples: int = Field(default=0, ge=0)
    #: How long the scoring took, beside the rounds: time of a processor.
    seconds: Finite = Field(default=0.0, ge=0)
    #: What one evaluation of one example takes of it, and finding the directions, of one. None: unknown.
    evaluation_seconds: Finite | None = Field(default=None, gt=0)
    direction_seconds: Finite | None = Field(default=None, ge=0)
    #: What whoever reads the numbers should know.
    note: Said = Field(default="", max_length=2_000)
    #: What the history is of: it begins anew when that changes.
    basis: dict[ShortText, ShortText] = Field(default_factory=dict, max_length=10)
    scores: list[ClientScore] = Field(default_factory=list)
    #: All clients of the history, after this round.
    standings: list[ClientStanding] = Field(default_factory=list)
    #: The history as the next round needs it.
    history: dict[str, Any] = Field(default_factory=dict)


class KnownStandings(Reply):
    """What was known of the clients after a round; before the run's first, rounds are numbered down."""

    round: int
    standings: list[ClientStanding]


class UnscoredRound(Reply):
    """A committed round whose scores never came: an earlier attempt was to make them."""

    round: int
    plan: ScoringPlan
    #: The models that the round and the one before it began with; None: not kept any more.
    before: BlobRef | None
    previous: BlobRef | None
    #: What its clients delivered, and how many examples are behind each update.
    deliveries: list[Delivery]
    examples: dict[str, int]
    #: What became of the evaluations that its clients were asked for, as far as they are over.
    evaluations: list[Delivery] = Field(default_factory=list)


class ContributionState(Reply):
    """Where the scoring of a run's rounds stands when an attempt begins."""

    basis: dict[str, str] = Field(default_factory=dict)
    history: dict[str, Any] = Field(default_factory=dict)
    #: After its last scored rounds, the oldest first; before them, what another run of the task came to.
    known: list[KnownStandings] = Field(default_factory=list)
    #: The model that the last committed round began with. None: there is none, or it is not kept any more.
    previous: BlobRef | None = None
    unscored: list[UnscoredRound] = Field(default_factory=list)


class RoundScoresRead(Reply):
    """What operators see of a round's scores."""

    round: int
    plan: ScoringPlan
    #: None: not yet, or never, if the run ended before.
    scored_at: float | None
    run_ended: bool = False
    method: str | None
    evaluations: int
    examples: int
    seconds: float
    #: The same as a share of the round's time, and all scoring until then as a share of all rounds'.
    share: float | None
    run_share: float | None = None
    note: str
    scores: list[ClientScore]


class ContributionsRead(Reply):
    """Clients over all scored rounds of a task, and what the numbers rest on."""

    task: str
    #: The newest round that is in it.
    run_id: int | None
    round: int | None
    basis: dict[str, str]
    clients: list[ClientStanding]
