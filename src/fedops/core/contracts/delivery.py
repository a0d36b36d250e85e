"""Code on its way from Git to devices: a task's source, its commits, rollouts and deployments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedops.core.contracts.base import (
    BlobRef,
    Digest,
    Finite,
    Name,
    Reply,
    Report,
    Request,
    Said,
    ShortText,
)
from fedops.core.states import (
    CommitStatus,
    DeploymentHealth,
    DeploymentStatus,
    RolloutStatus,
)

#: Git's name of a commit; of a plain folder, the digest of its files.
Commit = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
#: As ``environments.platform_names`` writes it: ``3.11/x86_64-manylinux_2_36``.
PlatformName = Annotated[str, Field(pattern=r"^3\.\d{1,2}/[a-z0-9_]+-[a-z0-9_.]+$", max_length=80)]
#: How many paths and dependencies a list of changes names.
MAX_CHANGES = 200
_MINUTES = 7 * 24 * 60


#: A number of devices, or a part of them: ``1``, ``10%`` (``core.delivery.waves.Share``).
ShareText = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,5}|[1-9][0-9]?%|100%)$")]

#: Who is first: a share of devices, or all with a tag: ``tag:ward`` (``core.delivery.waves.first_wave``).
FirstWaveText = Annotated[
    str,
    Field(pattern=r"^([1-9][0-9]{0,5}|[1-9][0-9]?%|100%|tag:[a-z0-9][a-z0-9._-]{0,31})$"),
]


# --- what operators ask for ------------------------------------------------------------------


class Window(Request):
    """A time that comes again: it begins as ``cron`` says, and lasts."""

    cron: str = Field(max_length=200)
    minutes: int = Field(ge=1, le=_MINUTES)


class Windows(Request):
    """When devices may switch to another commit: in one of ``allow`` (none: always), never in ``deny``."""

    allow: list[Window] = Field(default_factory=list, max_length=20)
    deny: list[Window] = Field(default_factory=list, max_length=20)
    zone: str = Field(default="UTC", max_length=64)


class RolloutPolicy(Request):
    """How commits reach the devices of a task: in waves, each judged before the next."""

    canary: FirstWaveText = "1"
    #: Of those that are left, in each further wave.
    further: ShareText = "100%"
    #: Before which waves a person is asked.
    approval: Literal["never", "canary", "each"] = "never"
    #: For so long a wave must have been well. Seconds.
    judged_seconds: float = Field(default=10.0, ge=0, le=86_400, allow_inf_nan=False)
    #: After so long a wave that is neither well nor failed waits for a person. Seconds.
    wave_seconds: float = Field(default=900.0, gt=0, le=604_800, allow_inf_nan=False)
    #: The newest model is evaluated by the old code and the new one; "": it is not compared.
    metric: str = Field(default="", max_length=200)
    #: By how much the metric may be worse under the new code. Absolute.
    may_lose: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    windows: Windows = Windows()


class SourceSet(Request):
    """Where the code of a task comes from: a Git repository, or a plain folder on the server's machine."""

    url: str = Field(min_length=1, max_length=2_000)
    #: A branch, a tag or a commit; "": the branch that the repository itself names. A folder has none.
    ref: str = Field(default="", max_length=255)
    #: The app's folder within it.
    subfolder: str = Field(default="", max_length=500)
    #: How often it is looked at; 0: only when a hook or a person says so. Seconds.
    poll_seconds: float = Field(default=60.0, ge=0, le=604_800, allow_inf_nan=False)
    #: None: as it was; of a task that has no source yet, the usual one.
    policy: RolloutPolicy | None = None

    @model_validator(mode="after")
    def _is_no_option(self) -> SourceSet:
        """Git reads what begins with a dash as an option."""
        for name in ("url", "ref", "subfolder"):
            if getattr(self, name).startswith("-"):
                raise ValueError(f"{name} must not begin with '-'")
        return self


class RolloutStart(Request):
    """Roll out a commit now. None: the newest that was found sound."""

    commit: Commit | None = None
    #: From now on no newer commit is rolled out by itself, until it is unpinned.
    pin: bool = False
    #: Try again where it failed before.
    again: bool = False


class RolloutDecision(Request):
    """What a person decides about the rollout that goes on."""

    decision: Literal["approve", "pause", "resume", "stop", "roll_back", "unpin"]
    #: Why, for those who ask later.
    because: str = Field(default="", max_length=1_000)


class HookSecret(Reply):
    """What a Git host is given, so that it can tell of new commits."""

    url: str
    secret: str


class HookReply(Reply):
    accepted: bool
    why: str


# --- what is to be read ----------------------------------------------------------------------


class SourceRead(Reply):
    url: str  #: without credentials
    ref: str
    subfolder: str
    poll_seconds: float
    policy: RolloutPolicy
    #: The commit that the ref names, as far as known.
    commit: str | None
    pinned: str | None
    looked_at: float | None
    #: Why it could not be read last time; "": it could.
    problem: str


class CommitChanges(Reply):
    """What is different from the commit that was deployed before."""

    since: str | None = None
    #: Paths within the app, with Git's letter before each (``M app/model.py``).
    files: list[str] = Field(default_factory=list)
    #: Such as ``+ scikit-learn>=1.5`` and ``- pandas``.
    dependencies: list[str] = Field(default_factory=list)
    #: How many more of either there are.
    more: int = 0


class CommitRead(Reply):
    commit: str
    status: CommitStatus
    reason: str
    subject: str
    author: str
    authored_at: float | None
    seen_at: float
    bundle: str | None
    fingerprint: str
    changes: CommitChanges


class RolloutRead(Reply):
    id: int
    task: str
    commit: str
    status: RolloutStatus
    wave: int
    #: What it waits for, or how it ended.
    why: str
    #: What is asked of devices when it is stopped.
    previous: str | None
    policy: RolloutPolicy
    created_at: float
    since: float
    ended_at: float | None


class DeploymentRead(Reply):
    """One device: what is wanted of it, what it runs, since when, and why."""

    device: str
    desired: str | None
    actual: str | None
    #: Whether it runs what is wanted of it.
    synced: bool
    health: DeploymentHealth
    status: DeploymentStatus | None
    since: float | None
    why: str
    wave: int | None = None
    #: Its owner gives it a folder of their own, which is never changed from outside.
    local: bool = False
    dirty: bool = False
    #: What the packages of its environment are, as far as it said.
    packages: dict[str, str] = Field(default_factory=dict)


class DeliveryRead(Reply):
    """The delivery of a task, whole."""

    task: str
    source: SourceRead | None
    #: The newest first.
    commits: list[CommitRead]
    rollout: RolloutRead | None
    deployments: list[DeploymentRead]
    #: The commit that the next run uses.
    runs_use: str | None


# --- between a device and the server ---------------------------------------------------------


class DesiredDeployment(Reply):
    """What a device is to run for a task. Level-triggered: the device makes it so."""

    task: str
    commit: str
    bundle: BlobRef
    #: The commit with its files as a Git pack, for devices that check its signature. None: of a folder.
    pack: BlobRef | None = None
    subfolder: str = ""
    #: Counted up to have it tried again. A device tries a commit once in each.
    attempt: int = 1
    #: Why it is fetched and prepared and not switched to yet; "": nothing is in the way.
    hold: str = ""
    #: How long to wait before it is fetched: devices do not all come at once. Seconds.
    after_seconds: float = 0.0
    #: The newest model of the task, to try the code with. None: there is none.
    model: BlobRef | None = None
    metric: str = ""
    may_lose: float = 0.0
    subject: str = ""
    author: str = ""
    changes: CommitChanges = CommitChanges()


class DeploymentReport(Report):
    """How far a device is with what it is to run for a task."""

    task: Name
    #: What it is at, or was at last. None: nothing was ever wanted.
    commit: Commit | None = None
    attempt: int = Field(default=0, ge=0)
    status: DeploymentStatus = DeploymentStatus.WAITING
    reason: Said = Field(default="", max_length=2_000)
    #: It will not get on by itself: its disk is full, its owner has to approve.
    stalled: bool = False
    #: What it runs now; None: nothing yet.
    active: Commit | None = None
    #: Its owner's own folder (``source = "local"``), and whether files differ from the commit.
    local: bool = False
    dirty: bool = False
    #: The parameter contract of what it runs; "": not known.
    fingerprint: Said = Field(default="", max_length=64)
    #: Of the packages that the app names itself.
    packages: dict[ShortText, ShortText] = Field(default_factory=dict, max_length=200)
    #: Of the newest model under the new code, and under the old.
    metrics: dict[ShortText, Finite] = Field(default_factory=dict, max_length=200)
    before: dict[ShortText, Finite] = Field(default_factory=dict, max_length=200)
    #: Since when it is so, in seconds.
    seconds: Finite = Field(default=0.0, ge=0)
    platform: Said = Field(default="", max_length=80)


class WheelRef(Reply):
    """A wheel, as a blob that the device may read."""

    name: str = Field(max_length=255)
    sha256: Digest
    size: int = Field(ge=0)


class Packages(Reply):
    """What the environment of a commit is made of on a platform: wheels only, all of them."""

    status: Literal["ready", "preparing", "refused"]
    #: Why it is not ready, and what to do.
    reason: str = ""
    wheels: list[WheelRef] = Field(default_factory=list)
    #: What the app itself names, as distribution names.
    named: list[str] = Field(default_factory=list)
