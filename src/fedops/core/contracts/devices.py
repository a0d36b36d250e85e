"""A device: what it says of itself, what the server wants of it, and how long a round would take it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fedops.core.contracts.access import DeviceInfo
from fedops.core.contracts.base import Finite, Name, Reason, Reply, Report, Request, Said
from fedops.core.contracts.delivery import ShareText
from fedops.core.states import (
    AssignmentStatus,
    Enrolment,
    ProcessStatus,
    ReadinessStatus,
    RolloutStatus,
    UpgradeStatus,
)

_REASON = 2_000
#: The kind of an assignment that times a round on a chunk of the data; the record of its result.
BENCH = "bench"
#: The record of an instruction that names the newest model version.
BENCH_MODEL = "model"
#: The share of a device's examples in a chunk (Moon, Yang and Lee 2024).
DEFAULT_FRACTION = 0.01
#: No device measures for longer, the download of the model not counted. Seconds.
MEASURES_SECONDS = 60.0

_Count = Annotated[int, Field(ge=1, le=2**53)]
_Seconds = Annotated[Finite, Field(ge=0, le=1e8)]


class Readiness(Report):
    """Whether the training client could do its part of a task's rounds: it tried model, data and room."""

    #: Under whose config it tried. None: the app's, as it is on the device.
    task: str | None = Field(default=None, max_length=63)
    status: ReadinessStatus = ReadinessStatus.READY
    #: Since when it is so, in seconds.
    seconds: Finite = 0.0
    #: Why not, and what to do.
    reason: Said = Field(default="", max_length=_REASON)


class Refusal(Report):
    """Work that the device could not do. Nothing since then has shown that it could now."""

    task: str = Field(max_length=63)
    run_id: int | None = None
    round: int | None = None
    reason: Said = Field(default="", max_length=_REASON)
    #: Since when, in seconds.
    seconds: Finite = 0.0


class ProcessReport(Report):
    """The training client, as its Client Manager sees it."""

    status: ProcessStatus = ProcessStatus.STOPPED
    pid: int | None = None
    task: str | None = None
    run_id: int | None = None
    round: int | None = None
    seconds_in_state: Finite = 0.0
    #: How long it may go on in this state, in seconds. None: as long as it likes.
    limit_seconds: Finite | None = None
    restarts: int = 0
    reason: Said | None = Field(default=None, max_length=_REASON)
    #: One entry a task. Nothing: it did not say, and whoever is idle is taken to be ready.
    readiness: list[Readiness] = Field(default_factory=list, max_length=64)
    refusal: Refusal | None = None
    #: Which conditions of its owner are not met, so that it takes no new work; "": all are.
    unmet_conditions: Said = Field(default="", max_length=1_000)
    #: Where the model is computed, such as ``cpu`` or ``cuda:1``; "": not known yet.
    accelerator: Said = Field(default="", max_length=40)
    #: Why that is not what was asked for, in one sentence.
    accelerator_problem: Said = Field(default="", max_length=1_000)
    #: How many examples its data has; None: not known yet.
    training_examples: int | None = Field(default=None, ge=0)
    validation_examples: int | None = Field(default=None, ge=0)
    #: How the app's code is held, in a sentence; "": it did not say.
    confined: Said = Field(default="", max_length=1_000)


class DeviceRename(Request):
    name: Name


#: A word that operators call a device by, beside its name; ``tag:WORD`` means all that have it.
Tag = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")]


class DeviceTags(Request):
    """All tags of a device, in place of those that it has."""

    tags: list[Tag] = Field(max_length=20)


class DeviceQuarantine(Request):
    """Put a device in quarantine, and with it the versions that its updates are in."""

    because: Reason
    #: Leave the versions as they are.
    keep_versions: bool = False


class TouchedRun(Reply):
    """A run that a device's updates are in: by its own rounds, or by what it began from."""

    task: str
    run_id: int
    #: Its committed rounds in which an update of the device was aggregated.
    rounds: list[int]
    #: What it began from that the device's updates are in: ``V3``, or ``run 2``. Empty: nothing.
    began_from: str = ""
    #: The version that it made.
    version: int | None
    quarantine: str | None = None


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
    #: Both releases of FedOps, when the device has another one than the server; "": it has the same.
    other_release: str = ""
    #: What operators call it beside its name, sorted.
    tags: list[str] = Field(default_factory=list)


class DeviceTouched(Reply):
    """A device, the runs that its updates are in, and what to do next."""

    device: DeviceRead
    touched: list[TouchedRun]
    next_steps: list[str]


# --- the release of FedOps -------------------------------------------------------------------


class DeviceUpgrade(Request):
    """Have devices install the server's release of FedOps, in waves."""

    #: Which ones; none named: all that have another release, and those that come later.
    names: list[Name] = Field(default_factory=list, max_length=10_000)
    canary: ShareText = "1"
    #: Of those that are left, in each further wave.
    further: ShareText = "100%"
    #: For so long a wave must have been well. Seconds.
    judged_seconds: float = Field(default=10.0, ge=0, le=86_400, allow_inf_nan=False)
    #: After so long a wave that is neither well nor failed keeps the others waiting. Seconds.
    wave_seconds: float = Field(default=1_800.0, gt=0, le=604_800, allow_inf_nan=False)


class DeviceUpgradeRead(Reply):
    """A device that is to have another release: what it has, what is wanted, since when, and why."""

    device: str
    #: What it runs by its own word; "": it has not said.
    release: str
    #: What it is asked to install; "": it is not asked yet.
    wanted: str
    status: UpgradeStatus
    online: bool
    since: float
    why: str
    wave: int | None = None


class UpgradeRead(Reply):
    """The newest upgrade of devices."""

    release: str
    status: RolloutStatus
    wave: int
    #: What it waits for, or how it ended.
    why: str
    created_at: float
    since: float
    ended_at: float | None
    devices: list[DeviceUpgradeRead]


# --- benchmarks ------------------------------------------------------------------------------


class BenchRequest(Request):
    """Which devices are to be timed; none named: all that are ready."""

    devices: list[Name] = Field(default_factory=list, max_length=10_000)
    fraction: float = Field(default=DEFAULT_FRACTION, gt=0, le=1, allow_inf_nan=False)


class BenchMeasured(Report):
    """What a device measured. A training goes over all epochs of the config."""

    #: All that it has to train on.
    examples: _Count
    epochs: _Count
    #: A training on one batch: what is done once a round counts most in it.
    first_examples: _Count
    first_seconds: _Seconds
    #: The longest training that was timed.
    chunk_examples: _Count
    chunk_seconds: _Seconds
    #: How many examples the chunk would have had without the limit of time.
    wanted_examples: _Count
    #: Of the newest model version, where the task has one: its size, and how long its download took.
    model_bytes: _Count | None = None
    download_seconds: _Seconds | None = None

    def values(self) -> dict[str, Any]:
        """As the values of a metric record."""
        return {
            name.replace("_", "-"): value
            for name, value in self.model_dump(exclude_none=True).items()
        }

    @classmethod
    def from_values(cls, record: dict[str, Any]) -> BenchMeasured:
        """Read a metric record. ``ValueError`` when it is none of these."""
        return cls.model_validate({name.replace("-", "_"): v for name, v in record.items()})


class BenchRead(Reply):
    """The last benchmark of a device: how it is, and the last estimate."""

    device: str
    #: Of the assignment.
    status: AssignmentStatus
    fraction: float
    asked_at: float
    #: What the device does for it, or why there is no result of it.
    why: str = ""
    measured: BenchMeasured | None = None
    measured_at: float | None = None
    #: How long a round would take: the training, and twice the download where the task has a version.
    round_seconds: float | None = None
    #: What to know of the estimate: sentences.
    notes: list[str] = Field(default_factory=list)


class BenchLeftOut(Reply):
    """A device that is not timed, and why."""

    device: str
    reason: str


class BenchesRead(Reply):
    """The benchmarks of a task's devices, by name."""

    task: str
    benches: list[BenchRead] = Field(default_factory=list)
    left_out: list[BenchLeftOut] = Field(default_factory=list)
