"""Tasks and their runs, rounds, metrics and events; studies, and what a run would take."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from fedops.core.contracts.base import Digest, Name, Override, Overrides, Reply, Request
from fedops.core.contracts.delivery import SourceSet
from fedops.core.contracts.schedules import Group
from fedops.core.states import (
    AttemptStatus,
    FailureReason,
    ParticipationStatus,
    RunStatus,
    TaskStatus,
)


class TaskCreate(Request):
    """A task. Its app is a bundle that was uploaded before (its sha256), or comes from a source."""

    name: Name
    bundle: Digest | None = None
    #: Its first sound commit makes the task ready.
    source: SourceSet | None = None
    overrides: Overrides = Field(default_factory=list)
    description: str = Field(default="", max_length=2_000)

    @model_validator(mode="after")
    def _one_app(self) -> TaskCreate:
        if (self.bundle is None) == (self.source is None):
            raise ValueError("a task is made of an app bundle or of a source: give one of them")
        return self


class TaskUpdate(Request):
    bundle: Digest | None = None
    overrides: Overrides | None = None
    description: str | None = Field(default=None, max_length=2_000)


class TaskRead(Reply):
    name: str
    status: TaskStatus
    description: str
    #: "": a draft, whose first commit was not found sound yet.
    bundle: str
    config: dict[str, Any]
    devices: list[str]
    active_run: int | None
    latest_version: int | None
    created_at: float
    updated_at: float
    #: Of a draft: what it waits for, and whether it will not get better by itself.
    why: str = ""
    stalled: bool = False


class TaskConfig(Reply):
    """What a device is to be ready for: the config of the run that goes on, else that of the next."""

    task: str
    run_id: int | None = None
    config: dict[str, Any]


class RunStart(Request):
    """Start a run of a task. ``from_version`` None means the task's ``latest``, else V0."""

    overrides: Overrides = Field(default_factory=list)
    from_version: int | None = Field(default=None, ge=0)
    #: From an initial model of its own, made from its seed, and not from a version.
    new_model: bool = False
    #: In place of the task's: a whole config, and the sha256 of an app bundle that the server has.
    config: dict[str, Any] | None = None
    bundle: Digest | None = None
    #: Names or patterns (``day-*``) of the devices that take part. []: all.
    devices: Group = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_origin(self) -> RunStart:
        if self.new_model and self.from_version is not None:
            raise ValueError("a run starts from a version or from a new model, not from both")
        return self


class RunExtend(Request):
    """A new run that goes on for more rounds where one that is over ended."""

    rounds: int = Field(ge=1, le=1_000_000)
    overrides: Overrides = Field(default_factory=list)
    #: With the task's app as it is now, in place of the one that run had.
    current_app: bool = False


class RunRetry(Request):
    """A new run that does the rest of one that failed or was stopped."""

    overrides: Overrides = Field(default_factory=list)
    #: With the task's app as it is now, in place of the one that run had.
    current_app: bool = False


class ParticipationRead(Reply):
    device: str
    status: ParticipationStatus
    #: Why it was selected.
    selection: str
    #: Why it was dropped or rejected, and what else happened (e.g. a restart).
    reason: str | None
    examples: int | None
    seconds: float | None
    bytes_up: int | None
    metrics: dict[str, float]


class RoundRead(Reply):
    round: int
    attempt: int
    started_at: float
    committed_at: float | None
    seconds: float | None
    overhead_seconds: float | None
    timing: dict[str, float]
    metrics: dict[str, float]
    participations: list[ParticipationRead]
    #: sha256 of the model it made, and whether that checkpoint is kept still.
    model: str | None = None
    kept: bool = False


class AttemptRead(Reply):
    number: int
    status: AttemptStatus
    pid: int | None
    started_at: float
    ended_at: float | None
    reason: str | None
    #: What its FL server is doing, for how long and how long it may; or how it ended.
    why: str = ""
    limit_seconds: float | None = None
    #: What its FL server ran on, as it said itself: Python, platform, versions of libraries.
    environment: dict[str, str] | None = None


class RunRead(Reply):
    id: int
    task: str
    status: RunStatus
    reason: FailureReason | None
    #: One sentence with numbers: what it is doing or waiting for, or how it ended.
    why: str
    seconds_in_state: float = 0.0
    #: How long it may go on as it is now: in this state, or (running) with what its engine is doing.
    limit_seconds: float | None = None
    rounds: int
    committed_rounds: int
    seed: int
    config: dict[str, Any]
    from_version: int | None
    version: int | None
    #: The run that this one extends or retries.
    parent: int | None
    #: The study that it is a part of.
    study: int | None = None
    #: sha256 of the app bundle, and of the model that it began with where that is no version.
    bundle: str = ""
    start_model: str | None = None
    #: It began with an initial model of its own, made from its seed.
    new_model: bool = False
    overrides: list[str] = Field(default_factory=list)
    #: Its first round: those before are its parent's.
    first_round: int = 1
    metrics: dict[str, float]
    created_at: float
    started_at: float | None
    ended_at: float | None
    stopping: list[str] = Field(default_factory=list)
    #: In the answer to what sets it going: what will happen, in one line.
    plan: str = ""
    #: Of a completed run: what the gate said of the version that it made.
    gate: str = ""
    #: Why that version is quarantined; None: it is not.
    quarantine: str | None = None
    #: The schedule that began it, with which firing, and what became of its version.
    schedule: str | None = None
    firing: int | None = None
    begun_by: str = ""
    #: The devices that it is for: names or patterns. []: all of the task.
    devices: list[str] = Field(default_factory=list)
    attempts: list[AttemptRead] = Field(default_factory=list)


class RebuildRead(Reply):
    """The run that makes a version again without a device, and how: aggregated again, or trained anew."""

    run: RunRead
    how: str
    #: Whether the kept updates of the last round are aggregated again; else devices train.
    aggregates_again: bool


class MetricRead(Reply):
    #: Ascending: a page goes on after the last one's.
    id: int = 0
    run_id: int
    round: int | None
    device: str | None
    source: str
    name: str
    value: float
    at: float


class ExplanationRead(Reply):
    """What the server knows of one device's explanations of one round (0: before any training)."""

    device: str
    round: int
    #: By name, such as ``local_to_global/layercam/cosine`` or ``local/gradcam/deletion``.
    scores: dict[str, float] = Field(default_factory=dict)
    #: One sentence for each drift series that jumped.
    alarms: list[str] = Field(default_factory=list)
    #: Why there is no explanation.
    failures: list[str] = Field(default_factory=list)
    #: Ids of the contact sheets that the device's owner let go.
    pictures: list[str] = Field(default_factory=list)


class EventRead(Reply):
    """``by_...``: the person in whose call it happened. Token and address: for admins and auditors."""

    id: int
    at: float
    who: str
    subject: str
    name: str
    text: str
    data: dict[str, Any]
    by_user: str | None = None
    by_token: int | None = None
    by_address: str | None = None


# --- studies, and forecasts ------------------------------------------------------------------

Seed = Annotated[int, Field(ge=0, lt=2**63)]
MAX_SEEDS = 1_000


class StudyStart(Request):
    """One run for each seed, one after another.

    ``from_version`` None: each begins with an initial model that its own seed makes.
    """

    #: How many seeds, counted up from the config's ``random_seed``; or the seeds themselves.
    seeds: (
        Annotated[int, Field(ge=1, le=MAX_SEEDS)]
        | Annotated[list[Seed], Field(min_length=1, max_length=MAX_SEEDS)]
    )
    overrides: list[Override] = Field(default_factory=list)
    from_version: int | None = Field(default=None, ge=0)


class StudyRead(Reply):
    id: int
    task: str
    seeds: list[int]
    from_version: int | None
    overrides: list[str]
    created_at: float
    #: From when on it begins no more runs, and why.
    closed_at: float | None
    text: str
    #: Its runs, oldest first, those that retry others too.
    runs: list[RunRead]


class DeviceForecast(Reply):
    """A device of the task, before a run."""

    device: str
    #: Why it could not be asked now; None: it could.
    unavailable: str | None
    #: How many examples it trained on last in this task, and in which run; without a run: as many as it
    #: says that it has. None: neither is known.
    examples: int | None = None
    examples_run: int | None = None


class RunForecast(Reply):
    """What a run would be, had it been started now. Sizes and times are None where nothing is known yet."""

    task: str
    #: ``5 devices ready, all 5 each round, 10 rounds, a round counts with 3``.
    plan: str
    rounds: int
    #: How many clients a round asks, and with how many updates it counts.
    asked: int
    counts_with: int
    devices: list[DeviceForecast]
    seed: int
    bundle: str
    #: The version that it starts from; None: an initial model is made from the seed.
    from_version: int | None
    config: dict[str, Any]
    #: Of the model as a device fetches it, and of an update as it sends it.
    bytes_down: int | None = None
    bytes_up: int | None = None
    #: Where ``bytes_up`` is from: "measured in run 7", "the parameter contract, not compressed".
    bytes_from: str = ""
    #: Seconds of a round (median), measured in so many rounds of a run.
    round_seconds: float | None = None
    measured_rounds: int = 0
    measured_run: int | None = None
    #: Seconds of that run before its first round and after its last: its FL server starts and ends.
    outside_seconds: float = 0.0

    @property
    def bytes_a_device(self) -> int | None:
        """What goes over a device's network if it takes part in every round, both ways.

        The last model is fetched once more, to be evaluated.
        """
        if self.bytes_down is None or self.bytes_up is None:
            return None
        return self.rounds * (self.bytes_down + self.bytes_up) + self.bytes_down

    @property
    def total_bytes(self) -> int | None:
        """What goes over the server's network, for the clients that rounds ask."""
        each = self.bytes_a_device
        return None if each is None else each * self.asked

    @property
    def total_seconds(self) -> float | None:
        """From the start of a run to its end."""
        if self.round_seconds is None:
            return None
        return self.round_seconds * self.rounds + self.outside_seconds
