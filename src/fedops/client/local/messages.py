"""What Client Manager and training client say to each other over the local ports.

They may be of different releases. What one of them does not know of the other's message it ignores;
``LOCAL_PROTOCOL`` is counted up where that would not do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from fedops.core.contracts import CommitChanges, Instruction, ProcessReport, Reply, Request
from fedops.core.contracts.base import Report
from fedops.core.contracts.confinement import Confinement
from fedops.core.states import ServingStatus

#: The version of what they say to each other.
LOCAL_PROTOCOL = 1


class TrainingArgs(Report):
    """What a training client is started with. No secrets: they are in files only this user may read."""

    protocol: int = LOCAL_PROTOCOL
    #: Where it keeps what it knows: the data dir, or with a user of its own the folder of that user.
    home: Path
    device: str
    device_id: str = ""
    #: How the app's code is to be held.
    confinement: Confinement | None = None
    app_dir: Path
    overrides: list[str] = Field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 8003


class TaskConfigs(Report):
    """What the device is to be ready for: the config of each of its tasks."""

    configs: dict[str, dict[str, Any]]


class WorkOrder(Report):
    """A piece of work for the training client. Its files are on this machine, its result is to be."""

    instruction: Instruction
    #: The blobs that the instruction names, by sha256.
    files: dict[str, Path] = Field(default_factory=dict)
    out: Path


class StopRequest(Report):
    """Abandon this piece of work; None: whatever is in hand."""

    id: str | None = None
    #: Keep how far it is, where that is possible.
    checkpoint: bool = False


class Finished(Report):
    """How a piece of work ended. ``done``: its result is in the file."""

    id: str
    outcome: Literal["done", "refused", "failed", "cancelled"]
    reason: str = ""
    #: Flower's error code, for ``failed``.
    code: int = 0
    sha256: str = ""
    size: int = 0
    #: Nobody told us: its result was there. What else was to be told may be lost.
    found: bool = False


class TrainingClientStatus(Reply):
    """The training client, asked by itself."""

    status: str
    task: str | None = None
    run_id: int | None = None
    round: int | None = None
    #: The assignment in hand.
    work: str | None = None
    #: Local epochs done, and of how many.
    epoch: int = 0
    epochs: int = 0
    pid: int


class HeldStatus(Reply):
    """An assignment that the device holds, and how far it is with it."""

    id: str
    kind: str
    task: str
    run_id: int | None = None
    round: int | None = None
    #: In words: ``downloading 43 % of 45 MB``.
    doing: str


class ServerStatus(Reply):
    """The server as this device sees it, and what it wants."""

    url: str
    #: The proxy on the way to it, without credentials; "": none.
    proxy: str = ""
    reachable: bool | None
    #: Seconds since it became reachable or unreachable.
    seconds: float
    problem: str = ""
    #: The server's release of FedOps. "": not reached yet, or older than this.
    fedops: str = ""
    enrolment: str | None = None
    runs: list[int] = Field(default_factory=list)
    tasks: list[str] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list)


class DeployedStatus(Reply):
    """The code of the device's task: what is wanted, what runs, and why that differs."""

    task: str
    desired: str | None = None
    active: str | None = None
    status: str
    why: str = ""
    #: It will not get on by itself.
    stalled: bool = False
    #: It is the owner's own folder, and whether files in it differ from the commit.
    local: bool = False
    dirty: bool = False


class AwaitedCommit(Reply):
    """A commit that waits for the owner of this device: what will run."""

    task: str
    commit: str
    #: What runs now; None: nothing yet.
    active: str | None = None
    subject: str = ""
    author: str = ""
    changes: CommitChanges = CommitChanges()


class Approval(Report):
    """The owner of this device allows a commit to run."""

    commit: str


class ServingState(Reply):
    """The model that this device serves, and how that goes."""

    task: str
    alias: str
    folder: str
    wanted: int | None
    active: int | None
    status: ServingStatus
    reason: str = ""
    stalled: bool = False
    #: Since when it is so.
    seconds: float = 0.0
    #: The version that can be put back.
    before: int | None = None


class ServingOrder(Request):
    """What the owner decides: put the version before back, or take the newest again."""

    action: Literal["back", "again"]


class ClientStatus(Reply):
    """Both directions: what the server wants, and how this device is."""

    device: str
    home: str
    #: Whether the Client Manager runs.
    running: bool
    pid: int | None = None
    url: str | None = None
    app: str | None = None
    tasks: list[str] = Field(default_factory=list)
    server: ServerStatus
    process: ProcessReport = ProcessReport()
    #: None: the app was named when the Client Manager was started.
    deployment: DeployedStatus | None = None
    training_url: str | None = None
    #: What it works on, the oldest first.
    held: list[HeldStatus] = Field(default_factory=list)
    #: None: its owner wants no model here.
    serving: ServingState | None = None
    spool_records: int = 0
    spool_dropped: int = 0
    #: One sentence on what it does or waits for.
    why: str = ""


class ClientInfo(Reply):
    """What a Client Manager is."""

    device: str
    fedops: str
    home: str
    server: str
    app: str | None
    limits: dict[str, Any]
    uploads: dict[str, Any]
