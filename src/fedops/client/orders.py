"""What Client Manager and training client say to each other over the local ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from fedops.core.contracts import ProcessReport, Reply, Request


class TrainingArgs(Request):
    """What a training client is started with. No secrets: they are in files only this user may read."""

    home: Path
    server: str
    device: str
    app_dir: Path
    overrides: list[str] = Field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 8003


class Assignment(Request):
    """What the training client may do now. Sent again whenever it changes."""

    node_id: str | None = None
    runs: tuple[int, ...] = ()
    #: Seconds to add to this machine's clock to get the server's.
    clock_offset: float = 0.0

    def differs_from(self, other: Assignment | None) -> bool:
        """Whether it is worth telling. A clock that drifts by less than a second is not."""
        if other is None:
            return True
        drift = abs(self.clock_offset - other.clock_offset)
        return (self.node_id, self.runs) != (other.node_id, other.runs) or drift > 1.0


class StopOrder(Request):
    """Abandon the work for this run; None: for any."""

    run_id: int | None = None


class Online(Reply):
    """The training client, asked by itself."""

    status: str
    task: str | None = None
    run_id: int | None = None
    round: int | None = None
    node_id: str | None = None
    pid: int


class ServerStatus(Reply):
    """The server as this device sees it, and what it wants."""

    url: str
    reachable: bool | None
    #: Seconds since it became reachable or unreachable.
    seconds: float
    problem: str = ""
    enrolment: str | None = None
    node_id: str | None = None
    runs: list[int] = Field(default_factory=list)
    tasks: list[str] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list)


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
    training_url: str | None = None
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
    app: str
    limits: dict[str, Any]
    uploads: dict[str, Any]
