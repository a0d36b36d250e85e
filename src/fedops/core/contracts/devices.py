"""A device: what it says of itself, and what the server wants of it."""

from __future__ import annotations

from pydantic import Field

from fedops.core.contracts.base import Finite, Name, Reason, Reply, Report, Request, Said
from fedops.core.contracts.enrolment import DeviceInfo
from fedops.core.states import Enrolment, ProcessStatus, ReadinessStatus

_REASON = 2_000


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


class DeviceTouched(Reply):
    """A device, the runs that its updates are in, and what to do next."""

    device: DeviceRead
    touched: list[TouchedRun]
    next_steps: list[str]
