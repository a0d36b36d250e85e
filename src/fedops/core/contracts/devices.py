"""A device: what it says of itself, and what the server wants of it."""

from __future__ import annotations

from pydantic import Field

from fedops.core.contracts.base import Finite, Name, Reply, Report
from fedops.core.contracts.enrolment import DeviceInfo
from fedops.core.states import Enrolment, ProcessStatus


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
    reason: str | None = Field(default=None, max_length=2_000)


class Heartbeat(Report):
    """Still here. Sent every interval and at once when something changes."""

    #: Which life of the Client Manager says so: another one after each start.
    life: str = Field(default="", max_length=64)
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
