"""What travels between the programs: requests, replies and reports, as pydantic models.

Requests refuse unknown keys; replies ignore them, so that a newer server can talk to an older client.
Times are POSIX seconds by the server's clock, durations are seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fedops.core.mistakes import without_secret
from fedops.core.states import (
    AttemptStatus,
    Enrolment,
    FailureReason,
    ParticipationStatus,
    ProcessStatus,
    RunStatus,
    TaskStatus,
)

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
#: A JSON number that is really one: neither NaN nor infinite.
Finite = Annotated[float, Field(allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: A ``key=value`` for a config. Secrets are a device's own: they are taken out on both sides.
Override = Annotated[str, AfterValidator(without_secret)]


class Request(BaseModel):
    """What a client sends: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reply(BaseModel):
    """What the server answers: an unknown key is from a newer server."""

    model_config = ConfigDict(extra="ignore", frozen=True)


# --- the parameter contract ------------------------------------------------------------------


class ExchangeRule(StrEnum):
    """How one tensor of the model takes part in the federation."""

    MEAN = "mean"  #: travels; the mean weighted by examples (floating point only)
    MAX = "max"  #: travels; the elementwise maximum (counters and other integer buffers)
    LOCAL = "local"  #: never leaves the device; the server keeps its initial value


class ParameterSpec(Reply):
    """One tensor of the model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    rule: ExchangeRule
    trainable: bool = True


class ParameterContract(Reply):
    """Names, shapes, dtypes and order of what is exchanged."""

    parameters: tuple[ParameterSpec, ...]

    @property
    def federated(self) -> tuple[ParameterSpec, ...]:
        """The tensors that travel, in the order of the model."""
        return tuple(p for p in self.parameters if p.rule is not ExchangeRule.LOCAL)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that two models share exactly when their exchanged tensors agree."""
        rows = [[p.name, list(p.shape), p.dtype, p.rule.value] for p in self.federated]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

    def differences(self, other: ParameterContract, limit: int = 3) -> list[str]:
        """One line per tensor on which ``self`` (here) and ``other`` (there) disagree."""
        mine = {p.name: p for p in self.federated}
        theirs = {p.name: p for p in other.federated}
        lines = [
            f"'{name}': {_describe(mine.get(name))} here, {_describe(theirs.get(name))} there"
            for name in _union(mine, theirs)
            if _describe(mine.get(name)) != _describe(theirs.get(name))
        ]
        if not lines and self.fingerprint != other.fingerprint:
            lines = ["the same tensors in another order"]
        more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
        return lines[:limit] + more


def _describe(spec: ParameterSpec | None) -> str:
    return f"{spec.dtype}{list(spec.shape)} ({spec.rule})" if spec else "absent"


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


# --- enrolment and tokens --------------------------------------------------------------------


class TokenCreate(Request):
    """A join token: whoever holds it may enrol a device."""

    expires_in_seconds: Finite = Field(default=86_400.0, gt=0)
    uses: int = Field(default=1, ge=1, le=1_000_000)
    note: str = Field(default="", max_length=200)


class TokenRead(Reply):
    id: int
    kind: Literal["join", "admin"]
    note: str
    created_at: float
    expires_at: float | None
    uses_left: int | None
    revoked: bool
    #: The secret itself: only in the answer to the request that made it.
    token: str | None = None


class DeviceInfo(Request):
    """What a device says about itself. Shown to operators, trusted for nothing."""

    hostname: str = Field(default="", max_length=255)
    platform: str = Field(default="", max_length=255)
    python: str = Field(default="", max_length=64)
    fedops: str = Field(default="", max_length=64)
    cpus: int = Field(default=0, ge=0)
    memory_bytes: int = Field(default=0, ge=0)
    gpu: str = Field(default="", max_length=255)


class JoinRequest(Request):
    """Enrolment: who holds a valid join token hands in the device's public node key (OpenSSH).

    ``proof``: base64 of the key's signature (ECDSA, SHA-256) over ``policies.join_statement``, so that nobody
    joins as a device of which they know the public key only.
    """

    token: str = Field(max_length=200)
    name: Name
    public_key: str = Field(max_length=2_000)
    proof: str = Field(max_length=500)
    info: DeviceInfo = DeviceInfo()


class JoinReply(Reply):
    device_id: str
    name: str
    device_token: str
    enrolment: Enrolment


# --- devices ---------------------------------------------------------------------------------


class ProcessReport(Request):
    """The training client, as its Client Manager sees it."""

    status: ProcessStatus = ProcessStatus.STOPPED
    pid: int | None = None
    task: str | None = None
    run_id: int | None = None
    round: int | None = None
    seconds_in_state: Finite = 0.0
    restarts: int = 0
    reason: str | None = Field(default=None, max_length=2_000)


class Heartbeat(Request):
    """Still here. Sent every interval and at once when something changes."""

    tasks: list[Name] = Field(default_factory=list, max_length=64)
    process: ProcessReport = ProcessReport()
    #: Runs the device has fully stopped training for since it was told to.
    quiet_runs: list[int] = Field(default_factory=list, max_length=64)
    spool_records: int = Field(default=0, ge=0)
    spool_dropped: int = Field(default=0, ge=0)


class Desired(Reply):
    """What the server wants of one device. Level-triggered: the device makes it so."""

    revision: int
    enrolment: Enrolment
    #: The device's Flower node id, a string because it exceeds 2**53. None until registered.
    node_id: str | None = None
    #: The tasks the device is enrolled in.
    tasks: list[str] = Field(default_factory=list)
    #: The runs the device may train in now. It must stop training for any other.
    runs: list[int] = Field(default_factory=list)
    #: How long the training client may train or evaluate at a stretch, as far as the run says.
    work_seconds: float | None = None
    heartbeat_seconds: float = 4.0
    telemetry_seconds: float = 10.0
    server_time: float = 0.0
    problems: list[str] = Field(default_factory=list)


class DeviceRead(Reply):
    id: str
    name: str
    enrolment: Enrolment
    online: bool
    last_seen_at: float | None
    last_seen_seconds: float | None
    tasks: list[str]
    process: ProcessReport
    info: DeviceInfo
    created_at: float
    why: str


class RecordKind(StrEnum):
    METRIC = "metric"
    EVENT = "event"
    LOG = "log"
    TELEMETRY = "telemetry"


class DeviceRecord(Request):
    """One thing a device reports through its spool. The server keeps each ``id`` once."""

    id: str = Field(min_length=8, max_length=64)
    kind: RecordKind
    #: Seconds since it happened, so that a wrong clock on the device does no harm.
    age_seconds: Finite = Field(default=0.0, ge=0)
    run_id: int | None = None
    round: int | None = None
    name: str = Field(default="", max_length=200)
    value: Finite | None = None
    text: str = Field(default="", max_length=20_000)
    data: dict[str, Any] = Field(default_factory=dict)


class RecordBatch(Request):
    records: list[DeviceRecord] = Field(max_length=1_000)


class LogSource(StrEnum):
    """Which program logged something."""

    SERVER_APP = "server_app"
    CLIENT_MANAGER = "client_manager"
    TRAINING_CLIENT = "training_client"


class LogRead(Reply):
    """Some lines that a program logged together. ``id`` grows in the order they came in."""

    id: int
    at: float
    source: str
    run_id: int | None
    attempt: int | None
    round: int | None
    device: str | None
    text: str


class LogPage(Reply):
    """Logs from a point on, oldest first. Go on with ``after`` = the last entry's id."""

    entries: list[LogRead]
    #: How many entries had to go, oldest first, to keep within the bound.
    dropped: int = 0


class RecordsAccepted(Reply):
    accepted: int
    duplicates: int
    refused: list[str] = Field(default_factory=list)


# --- tasks and runs --------------------------------------------------------------------------


class TaskCreate(Request):
    """A task: its app is a bundle that was uploaded before (its sha256)."""

    name: Name
    bundle: Digest
    overrides: list[Override] = Field(default_factory=list)
    description: str = Field(default="", max_length=2_000)


class TaskUpdate(Request):
    bundle: Digest | None = None
    overrides: list[Override] | None = None
    description: str | None = Field(default=None, max_length=2_000)


class TaskRead(Reply):
    name: str
    status: TaskStatus
    description: str
    bundle: str
    config: dict[str, Any]
    devices: list[str]
    active_run: int | None
    latest_version: int | None
    created_at: float
    updated_at: float


class RunStart(Request):
    """Start a run of a task. ``from_version`` None means the task's ``latest``, else V0."""

    overrides: list[Override] = Field(default_factory=list)
    from_version: int | None = Field(default=None, ge=0)


class RunExtend(Request):
    """A new run that goes on for more rounds where one that is over ended."""

    rounds: int = Field(ge=1, le=1_000_000)
    overrides: list[Override] = Field(default_factory=list)
    #: With the task's app as it is now, in place of the one that run had.
    current_app: bool = False


class RunRetry(Request):
    """A new run that does the rest of one that failed or was stopped."""

    overrides: list[Override] = Field(default_factory=list)
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
    #: Its first round: those before are its parent's.
    first_round: int = 1
    metrics: dict[str, float]
    created_at: float
    started_at: float | None
    ended_at: float | None
    stopping: list[str] = Field(default_factory=list)
    attempts: list[AttemptRead] = Field(default_factory=list)


class MetricRead(Reply):
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
    id: int
    at: float
    who: str
    subject: str
    name: str
    text: str
    data: dict[str, Any]


class ModelVersionRead(Reply):
    """A global model version. Immutable; ``V0`` is the initial model."""

    task: str
    version: int
    run_id: int | None
    round: int
    parent: int | None
    sha256: str
    size: int
    metrics: dict[str, float]
    lineage: dict[str, Any]
    aliases: list[str]
    created_at: float


class Promotion(Request):
    """The alias that is to name a version."""

    alias: str = Field(default="serving", max_length=63)


class AliasMoveRead(Reply):
    version: int
    who: str
    at: float
    #: When a rollback took it back.
    undone_at: float | None


class AliasRead(Reply):
    """A movable name for a version, and its newest moves, the newest first."""

    name: str
    version: int
    moved_at: float
    moves: list[AliasMoveRead]


class FileCheck(Reply):
    """Whether the file of a version is what it was. ``problem`` None: it is."""

    task: str
    version: int
    sha256: str
    problem: str | None = None


class MetricDifference(Reply):
    first: float | None
    second: float | None


class ConfigDifference(Reply):
    first: Any
    second: Any


class TensorDifference(Reply):
    """A tensor in two models: its shapes (None: absent) and, where they agree, how far apart it is."""

    name: str
    first: list[int] | None
    second: list[int] | None
    #: The Euclidean distance, and that in proportion to the first's norm.
    distance: float | None = None
    relative: float | None = None
    #: The largest difference of one value.
    largest: float | None = None


class ModelComparison(Reply):
    """What differs between two versions of a task's model."""

    task: str
    first: int
    second: int
    identical: bool
    metrics: dict[str, MetricDifference]
    #: Only the keys that differ.
    config: dict[str, ConfigDifference]
    tensors: list[TensorDifference]
    #: Over all tensors that both have.
    distance: float | None


class BackupReport(Reply):
    """A backup that was written. ``damaged``: stored files (sha256) that it had to leave out, and why."""

    path: str
    files: int
    size: int
    damaged: dict[str, str]


class RestoreReport(Reply):
    """A backup that was brought back. ``aside``: where the data is that was there before."""

    home: str
    files: int
    aside: str | None


class ServerInfo(Reply):
    version: str
    api: str = "v1"
    server_time: float
    engine: str
    devices_online: int
    devices: int
    active_runs: int


# --- the round engine's side -----------------------------------------------------------------


class ArtifactRef(Reply):
    """A stored file, named by its content."""

    sha256: str
    size: int


class EngineHello(Request):
    """The ServerApp of an attempt is up."""

    pid: int


class AttemptSpec(Reply):
    """All an attempt needs to execute or continue a run."""

    run_id: int
    attempt: int
    task: str
    seed: int
    config: dict[str, Any]
    rounds: int
    next_round: int
    #: The global model to start from (last committed checkpoint, else a version), if any.
    model: ArtifactRef | None
    #: Momenta and other state of the strategy after the last committed round, if any.
    strategy_state: ArtifactRef | None
    contract: ParameterContract | None
    #: Name of the data set that the run's devices share, once known.
    dataset: str | None
    #: Devices refused for this run, by name, with the reason.
    refused: dict[str, str]
    spool_dir: str


class ModelInit(Request):
    """V0: the initial model that the engine made from the seed."""

    model: Digest
    contract: ParameterContract


class Candidate(Reply):
    """A device that could take part in the next round."""

    device: str
    node_id: str
    #: None when it can be invited now, else why not ("offline, last seen 41 s ago").
    unavailable: str | None = None
    #: The run that has the device before this one gets it.
    held_by: int | None = None
    rounds_taken: int = 0
    last_round: int | None = None
    last_seconds: float | None = None
    last_loss: float | None = None


class Candidates(Reply):
    #: Whether the run may go on: "continue", "stop" or "pause".
    command: Literal["continue", "stop", "pause"]
    candidates: list[Candidate]


class EngineProgress(Request):
    """What the engine is doing, for ``why`` and the live views."""

    phase: Literal["waiting", "initialising", "training", "aggregating", "evaluating", "committing"]
    round: int
    detail: str = Field(default="", max_length=500)
    selected: list[str] = Field(default_factory=list)
    replied: list[str] = Field(default_factory=list)
    #: How many devices must be available for the round, as far as known.
    needed: int | None = None


class RoundBegin(Request):
    """The clients of a round, with the reason for each."""

    selected: dict[str, str]
    #: How many of them may upload at a time: bounds what must be held in memory. None: as ever.
    upload_slots: int | None = Field(default=None, ge=1, le=64)


class Ring(Request):
    """There is a message for these nodes."""

    node_ids: list[str]


class Signal(Reply):
    """Something the engine waits for. ``sequence`` grows by one per attempt."""

    sequence: int
    kind: Literal["uploaded", "hello", "gone", "command"]
    device: str | None = None
    #: Of ``uploaded``: the id of the reply message, and of the message it answers.
    message_id: str | None = None
    reply_to: str | None = None
    text: str = ""


class Signals(Reply):
    signals: list[Signal]
    command: Literal["continue", "stop", "pause"]


class ParticipationReport(Request):
    device: str
    status: ParticipationStatus
    reason: str | None = Field(default=None, max_length=2_000)
    examples: int | None = None
    seconds: Finite | None = None
    bytes_up: int | None = None
    metrics: dict[str, Finite] = Field(default_factory=dict)


class RoundCommit(Request):
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


class CommitReply(Reply):
    command: Literal["continue", "stop", "pause"]


class EngineFinish(Request):
    """The attempt ends by itself."""

    outcome: Literal["completed", "stopped", "paused", "failed"]
    reason: FailureReason | None = None
    text: str = Field(default="", max_length=4_000)
    #: Of the final model, on the clients, when they evaluated it.
    client_metrics: dict[str, Finite] = Field(default_factory=dict)


class EngineLog(Request):
    """Some lines that the ServerApp logged. The server keeps each ``id`` once."""

    id: str = Field(min_length=8, max_length=64)
    age_seconds: Finite = Field(default=0.0, ge=0)
    round: int | None = Field(default=None, ge=0, le=2**31 - 1)
    text: str = Field(max_length=20_000)


class EngineLogs(Request):
    entries: list[EngineLog] = Field(max_length=200)


# --- the node's side (signed with the node key) ----------------------------------------------


class NodeBell(Reply):
    """How often the node's bell has rung, in this life of the server."""

    epoch: str
    count: int


class NodeHello(Request):
    """A training client is up and has nothing in hand: messages it had pulled are lost."""

    node_id: str


class NodeUploaded(Request):
    """All objects of a reply are uploaded."""

    node_id: str
    flower_run_id: str
    message_id: str
    reply_to: str


class UploadSlot(Reply):
    """Whether the node may upload now. Bounds what the server must hold at a time."""

    granted: bool


# --- errors ----------------------------------------------------------------------------------


class ErrorReply(Reply):
    """Every 4xx and 5xx answer of the API."""

    kind: str
    error: str
    message: str
