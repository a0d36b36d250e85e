"""A device: what it says of itself, and what the server wants of it."""

from __future__ import annotations

from pydantic import Field

from fedops.core.contracts.base import Finite, Name, Reply, Report, Request
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


class DeviceRename(Request):
    name: Name


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
