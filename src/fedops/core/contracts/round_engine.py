"""Between the Server Manager and the round engine of an attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from fedops.core.contracts.assignments import AssignmentId, AssignmentKind, Delivery
from fedops.core.contracts.base import Age, BlobRef, Digest, Finite, Reply, Report, Said, ShortText
from fedops.core.contracts.confinement import Confinement
from fedops.core.contracts.contribution import ContributionState, ScoringPlan
from fedops.core.contracts.parameters import ParameterContract
from fedops.core.states import AssignmentStatus, FailureReason, ParticipationStatus


class EngineTicket(Report):
    """What a FL server is told on its standard input, as a line of JSON. Its token reaches nobody else."""

    attempt_id: int
    run_id: int
    attempt: int
    token: str
    server_url: str
    app_dir: Path
    #: The interpreter of the commit's own environment; None: the server's.
    python: Path | None = None
    #: Where it keeps the updates of its round.
    spool_dir: Path | None = None
    #: How the app's code is to be held; None: as this process is.
    confinement: Confinement | None = None


class OpenAssignment(Reply):
    """An assignment of a round that an earlier attempt began."""

    id: str
    device: str
    kind: str
    retry: int
    status: AssignmentStatus
    #: Why the device was chosen.
    selection: str = ""
    #: Whether it evaluates the model it receives before it trains.
    evaluates: bool = False
    #: The index of its payload document in the round's; None: not known.
    instruction: int | None = None


class OpenRound(Reply):
    """A round that was begun from the model the attempt starts with, and not committed: it is taken over."""

    round: int
    #: Why each device was chosen.
    selected: dict[str, str]
    assignments: list[OpenAssignment]
    #: Until the deadline that its first offers were given.
    seconds_left: float
    #: The payload documents of its assignments; equal ones once.
    instructions: list[dict[str, Any]] = Field(default_factory=list)


class EngineHello(Report):
    """The FL server of an attempt is up."""

    pid: int
    #: What it runs on: Python, platform, versions of libraries.
    environment: dict[ShortText, ShortText] = Field(default_factory=dict, max_length=100)
    #: How the app's code is held, in a sentence.
    confined: Said = ""


class AttemptSpec(Reply):
    """All an attempt needs to execute or continue a run."""

    run_id: int
    attempt: int
    task: str
    seed: int
    config: dict[str, Any]
    rounds: int
    next_round: int
    #: Not 1 in a run that goes on from another one.
    first_round: int = 1
    #: The global model to start from (last committed checkpoint, else a version), if any.
    model: BlobRef | None
    #: Momenta and other state of the strategy after the last committed round, if any.
    strategy_state: BlobRef | None
    contract: ParameterContract | None
    #: Name of the data set that the run's devices share, once known.
    dataset: str | None
    #: Devices refused for this run, by name, with the reason.
    refused: dict[str, str]
    spool_dir: str
    #: Where blobs lie as files (``ab/cdef...``), when the store is a folder; None: fetch them over HTTP.
    blobs_dir: str | None = None
    open_round: OpenRound | None = None
    #: The run whose updates ``open_round`` has: it is aggregated again of them, and nobody is asked to train.
    replays: int | None = None
    #: What is known of the contributions of its clients.
    contribution: ContributionState = Field(default_factory=ContributionState)


class ModelInit(Report):
    """V0: the initial model that the engine made from the seed."""

    model: Digest
    contract: ParameterContract


class IntegrityFlag(Reply):
    """A reason to distrust the updates of a device, with the evidence."""

    #: What it is suspected of, in one word ("replay").
    kind: ShortText
    reason: Said = Field(max_length=1_000)
    round: int | None = None


class Candidate(Reply):
    """A device that could take part in the next round, with its history; what is not known is None."""

    device: str
    node_id: str
    #: None when it can be invited now, else why not ("offline, last seen 41 s ago").
    unavailable: str | None = None
    #: Whether it has data to evaluate on and none to train on; None: it has not said so.
    evaluates_only: bool | None = None
    #: How many examples it has to train on, by its own word; None: it has not said so.
    examples: int | None = None
    #: Another run that the device works for now: it is a selector's last choice.
    busy_with: int | None = None
    #: How long its training client has had nothing in hand. Seconds; 0 while it works or is not known.
    idle_seconds: float = 0.0
    #: For how many committed rounds of the run it was invited, whatever came of it; the last of them.
    rounds_invited: int = 0
    last_invited: int | None = None
    #: In how many of them it replied, and in which one last.
    rounds_taken: int = 0
    last_round: int | None = None
    #: How long the last of these took it, from the offer to the delivery. Seconds.
    last_seconds: float | None = None
    last_loss: float | None = None
    #: How long a round takes it: the mean of its last rounds, the later the more it counts; at least as long
    #: as it was waited for where it did not reply. Seconds.
    round_seconds: float | None = None
    #: How long a round would take it, as a benchmark on the device has it. Seconds.
    bench_seconds: float | None = None
    #: What a round of it was worth on average, relative to the other updates of the round, with the standard
    #: error, over so many scored rounds.
    value: float | None = None
    value_error: float | None = None
    rounds_scored: int = 0
    flags: list[IntegrityFlag] = Field(default_factory=list)


class SelectionDecision(Report):
    """Why a candidate was chosen for a round, or was not."""

    device: str
    chosen: bool
    #: One sentence.
    reason: Said = Field(max_length=2_000)
    #: By what the candidates were ordered, where they were, and of what it was made.
    score: Finite | None = None
    parts: dict[str, Finite] = Field(default_factory=dict)


class SelectionRead(Reply):
    """Whom a round chose, and why; why not the others."""

    round: int
    attempt: int
    retry: int
    at: float
    decisions: list[SelectionDecision]


class Candidates(Reply):
    #: Whether the run may go on: "continue", "stop" or "pause".
    command: Literal["continue", "stop", "pause"]
    candidates: list[Candidate]


class EngineProgress(Report):
    """What the engine is doing, for ``why`` and the live views."""

    phase: Literal["waiting", "initialising", "training", "aggregating", "evaluating", "committing"]
    round: int
    detail: Said = Field(default="", max_length=500)
    selected: list[str] = Field(default_factory=list)
    replied: list[str] = Field(default_factory=list)
    #: How many devices must be available for the round, as far as known.
    needed: int | None = None
    #: After how many seconds the round begins with those that are there; None: it does not.
    begins_in: Finite | None = None
    #: What the server lacks for what the engine does, in words.
    shortage: str = Field(default="", max_length=500)


class OfferRequest(Report):
    """Work for one device. ``instruction``: the index of its payload document in the batch."""

    device: str
    kind: AssignmentKind
    instruction: int = Field(ge=0)
    retry: int = Field(default=0, ge=0)
    #: Whether the device evaluates the model it receives before it trains.
    evaluates: bool = False


class OfferBatch(Report):
    """Work for devices. Equal documents are given once. What is open for a device already stays as it is."""

    instructions: list[dict[str, Any]]
    offers: list[OfferRequest]
    deadline_seconds: Finite = Field(gt=0)
    group_id: str = Field(default="", max_length=200)
    #: The model that the work begins from.
    model: Digest | None = None
    encodings: list[str] = Field(default_factory=lambda: ["none"])
    #: The largest update that is taken, decoded. None: the server's own bound.
    max_bytes: int | None = None
    #: The round it belongs to; None for work beside the rounds.
    round: int | None = None


class Offered(Reply):
    """The assignments made, by device: an id for each."""

    assignments: dict[str, str]


class DevicePresence(Reply):
    """A device of the run's open assignments that went, or is back (``gone`` None)."""

    device: str
    gone: str | None


class CollectRequest(Report):
    """The verdicts on what was collected before, and from where to go on."""

    after: int = Field(default=0, ge=0)
    wait: Finite = Field(default=8.0, ge=0)
    checked: list[AssignmentId] = Field(default_factory=list)
    #: Id -> why the update is not taken.
    rejected: dict[str, str] = Field(default_factory=dict)


class Collected(Reply):
    """What came since ``after``, as soon as there is anything, or when the wait is over."""

    sequence: int
    deliveries: list[Delivery] = Field(default_factory=list)
    presence: list[DevicePresence] = Field(default_factory=list)
    command: Literal["continue", "stop", "pause"] = "continue"


class CancelRequest(Report):
    """End open assignments: these, or all of a round (None and a round), as ``expired``."""

    ids: list[AssignmentId] | None = None
    round: int | None = None
    reason: Said = Field(max_length=2_000)


class BlobHandover(Report):
    """A file in the attempt's spool folder that is to become a blob: its name there and its digest."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$")
    sha256: Digest


class RoundBegin(Report):
    """The clients of a round, with the reason for each, and the work for those that are asked now."""

    selected: dict[str, str]
    offers: OfferBatch | None = None
    #: Of a choice that was made just now: one for each candidate; and which try of the round it was.
    decisions: list[SelectionDecision] = Field(default_factory=list)
    retry: int = Field(default=0, ge=0)
    #: How many of them may upload at a time: bounds what must be held in memory. None: as ever.
    upload_slots: int | None = Field(default=None, ge=1, le=64)


class ParticipationReport(Report):
    device: str
    status: ParticipationStatus
    reason: Said | None = Field(default=None, max_length=2_000)
    examples: int | None = None
    seconds: Finite | None = None
    bytes_up: int | None = None
    metrics: dict[str, Finite] = Field(default_factory=dict)


class RoundCommit(Report):
    """One finished round. It counts when this is answered with success, and only then."""

    round: int = Field(ge=1)
    model: Digest
    strategy_state: Digest | None
    #: Of the model this round made, on the server's validation set ("accuracy", "loss", ...).
    metrics: dict[str, Finite] = Field(default_factory=dict)
    #: Of the model this round *received* (made by the round before), on its clients.
    client_metrics: dict[str, Finite] = Field(default_factory=dict)
    train_metrics: dict[str, Finite] = Field(default_factory=dict)
    participations: list[ParticipationReport]
    seconds: Finite
    overhead_seconds: Finite
    timing: dict[str, Finite] = Field(default_factory=dict)
    dataset: str | None = None
    refused: dict[str, str] = Field(default_factory=dict)
    #: How its updates are going to be scored. None: they are not.
    scoring: ScoringPlan | None = None


class CommitReply(Reply):
    command: Literal["continue", "stop", "pause"]


class EngineFinish(Report):
    """The attempt ends by itself."""

    outcome: Literal["completed", "stopped", "paused", "failed"]
    reason: FailureReason | None = None
    text: Said = Field(default="", max_length=4_000)
    #: Of the final model, on the clients, when they evaluated it.
    client_metrics: dict[str, Finite] = Field(default_factory=dict)
    #: Whether anybody measured the final model: the server on its own data, or a client.
    evaluated: bool = False
    #: The app's own ServerApp played the run: there are no committed rounds, and no new version.
    own_rounds: bool = False


class EngineLog(Report):
    """Some lines that the FL server logged. The server keeps each ``id`` once."""

    id: str = Field(min_length=8, max_length=64)
    age_seconds: Age = 0.0
    round: int | None = Field(default=None, ge=0, le=2**31 - 1)
    text: Said = Field(max_length=20_000)


class EngineLogs(Report):
    entries: list[EngineLog] = Field(max_length=200)
