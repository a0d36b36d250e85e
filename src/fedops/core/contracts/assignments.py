"""Between a device and the server while it works: the long poll, what it is to do, what it delivers.

Only durations travel: the server's clock decides what is late. Everything here may be repeated.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from fedops.core.contracts.access import DeviceInfo
from fedops.core.contracts.base import BlobRef, Digest, Finite, Name, Reply, Report, Said
from fedops.core.contracts.delivery import DeploymentReport, DesiredDeployment
from fedops.core.contracts.devices import ProcessReport
from fedops.core.contracts.models import DesiredModel, ServingReport
from fedops.core.states import AssignmentStatus, Enrolment

#: The version of the protocol between server, devices and engines, sent with each call in this header.
PROTOCOL = 1
PROTOCOL_HEADER = "fedops-protocol"
#: The release of FedOps that calls, to name it in refusals.
RELEASE_HEADER = "fedops-release"
#: A result up to this size rides in its delivery; a larger one is uploaded as a blob. Bytes.
INLINE_BYTES = 64 * 1024

AssignmentId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
#: A Flower message type: ``train``, ``evaluate``, ``query``, ``train.finetune``; ours: ``bench``.
AssignmentKind = Annotated[
    str, Field(pattern=r"^[a-z_]+(\.[A-Za-z_][A-Za-z0-9_]*)?$", max_length=100)
]


class Encoding(StrEnum):
    """How an update is written on the way. More may follow; an unknown one is refused."""

    NONE = "none"
    ZSTD = "zstd"


class Stage(StrEnum):
    """What a device is doing with an assignment that it holds."""

    WAITING = "waiting"  #: accepted, and something else is done first
    DOWNLOADING = "downloading"  #: ``done`` of ``total`` bytes
    PREPARING = "preparing"  #: the training client loads model and data
    TRAINING = "training"  #: ``done`` of ``total`` epochs, as far as known
    EVALUATING = "evaluating"
    WAITING_TO_UPLOAD = (
        "waiting_to_upload"  #: the update is kept; no slot yet, or no way to the server
    )
    UPLOADING = "uploading"  #: ``done`` of ``total`` bytes


class HeldAssignment(Report):
    """An assignment that a device has accepted and not forgotten, and how far it is."""

    id: AssignmentId
    stage: Stage = Stage.WAITING
    done: int = Field(default=0, ge=0)
    total: int = Field(default=0, ge=0)
    #: What it waits for, in words: "the server is out of reach".
    text: Said = Field(default="", max_length=200)


class WorkPoll(Report):
    """Still here, and this is how we are. Answered when there is news, or after ``wait`` seconds."""

    #: Which life of the Client Manager says so: another one after each start.
    life: str = Field(default="", max_length=64)
    tasks: list[Name] = Field(default_factory=list, max_length=64)
    #: What it runs on, until the server has answered once: it may have changed since the device joined.
    info: DeviceInfo | None = None
    process: ProcessReport = ProcessReport()
    #: What the device holds. What the server offered and is not in here is offered again.
    held: list[HeldAssignment] = Field(default_factory=list, max_length=64)
    spool_records: int = Field(default=0, ge=0)
    spool_dropped: int = Field(default=0, ge=0)
    #: One entry for each task whose code is deployed to it.
    deployments: list[DeploymentReport] = Field(default_factory=list, max_length=64)
    #: One entry for each task whose model it serves.
    serving: list[ServingReport] = Field(default_factory=list, max_length=64)
    #: Why the release that was wanted is not installed; "": nothing is in the way.
    upgrade_problem: Said = Field(default="", max_length=2_000)
    #: A person has to do something about it on the device.
    upgrade_stalled: bool = False
    #: The ``Work.upgrade_attempt`` that this is about.
    upgrade_attempt: int = Field(default=0, ge=0)
    #: The revision of the last answer; -1: none yet.
    after: int = -1
    wait: Finite = Field(default=0.0, ge=0)


class Offer(Reply):
    """Work for the device. Fetching its instruction accepts it."""

    id: str
    kind: str
    task: str
    run_id: int | None = None
    round: int | None = None
    #: Until its deadline.
    seconds_left: float


class Cancellation(Reply):
    """Held work that is not wanted any more: stop it and forget it."""

    id: str
    reason: str
    #: Whether to write a checkpoint first: the run is paused and may go on.
    checkpoint: bool = False


class Work(Reply):
    """What the server wants of one device. Level-triggered: the device makes it so."""

    revision: int
    enrolment: Enrolment
    #: What the device is called now. Empty: an older server does not say.
    name: str = ""
    #: The tasks the device is enrolled in.
    tasks: list[str] = Field(default_factory=list)
    #: The runs that go on in them, to label what is logged.
    runs: list[int] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list)
    #: Offered and not held by the device, oldest first.
    offers: list[Offer] = Field(default_factory=list)
    cancel: list[Cancellation] = Field(default_factory=list)
    #: Held work that is over (delivered, ended or unknown): its files may go.
    forget: list[str] = Field(default_factory=list)
    #: What it is to run, of the tasks whose code comes from the server.
    deployments: list[DesiredDeployment] = Field(default_factory=list)
    #: The versions that it is to serve, of the tasks whose model it wants.
    serving: list[DesiredModel] = Field(default_factory=list)
    #: How long the next poll should wait at most: a call each so often keeps the device present.
    poll_seconds: float = 4.0
    #: The server's release of FedOps. "": it is older than this field.
    fedops: str = ""
    #: The release of FedOps that it is to install; "": none.
    upgrade: str = ""
    #: Which wish for it that is. A device tries once for each.
    upgrade_attempt: int = 0
    telemetry_seconds: float = 10.0


class Instruction(Reply):
    """All a device needs to do an assignment. ``content`` is a payload document (``storage.payloads``)
    whose array records name the blobs that hold their tensors."""

    id: str
    kind: str
    task: str
    run_id: int | None = None
    attempt: int | None = None
    round: int | None = None
    #: Flower's group id; for FedOps' own rounds the round's number.
    group_id: str = ""
    #: The try of this piece of work within its round, from 0.
    retry: int = 0
    #: Identifies the piece of work over tries and attempts: keys the device's epoch checkpoint.
    work_key: str = ""
    content: dict[str, Any]
    #: The encodings that the server takes, the preferred one first.
    encodings: list[str] = Field(default_factory=lambda: ["none"])
    #: The largest update that is taken, decoded.
    max_bytes: int | None = None
    seconds_left: float


class Progress(Report):
    """Where the device is with an assignment. May get lost; nothing depends on it."""

    stage: Stage
    done: int = Field(default=0, ge=0)
    total: int = Field(default=0, ge=0)
    text: Said = Field(default="", max_length=200)


class WorkEnd(Report):
    """A device ends an assignment without a result."""

    outcome: Literal["refused", "failed"]
    reason: Said = Field(max_length=2_000)
    #: Flower's error code, for ``failed``.
    code: int = 0


class SlotRequest(Report):
    """Leave to upload the result of an assignment."""

    size: int = Field(ge=0)
    wait: Finite = Field(default=10.0, ge=0)


class TransferSlot(Reply):
    """Whether the device may upload now. The slot is held by a lease that each byte renews."""

    granted: bool
    #: When not granted: ask again after this long.
    retry_after: float = 0.0


class UploadHead(Report):
    """What an upload says of itself (tus ``Upload-Metadata``): whose result it is, and its digests."""

    assignment: AssignmentId
    #: Of the bytes that travel.
    sha256: Digest
    encoding: str = Field(default="none", max_length=40)
    #: Of the safetensors file within, when the encoding is not ``none``.
    decoded_sha256: Digest | None = None
    decoded_size: int | None = Field(default=None, ge=0)


class Delivery(Reply):
    """What became of an assignment: delivered, or ended by the device or the server."""

    id: str
    device: str
    kind: str
    round: int | None = None
    retry: int = 0
    status: AssignmentStatus
    #: Of ``uploaded``: the blob that holds the result ...
    blob: BlobRef | None = None
    encoding: str = "none"
    decoded_sha256: str | None = None
    decoded_size: int | None = None
    #: ... or the file itself (base64), when it is small.
    inline: str | None = None
    reason: str = ""
    code: int = 0
