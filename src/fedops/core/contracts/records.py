"""What the spool of a device delivers, and the logs as they are read."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from fedops.core.contracts.base import Age, Finite, Reply, Report, Said


class RecordKind(StrEnum):
    METRIC = "metric"
    EVENT = "event"
    LOG = "log"
    TELEMETRY = "telemetry"


class DeviceRecord(Report):
    """One thing a device reports through its spool. The server keeps each ``id`` once."""

    id: str = Field(min_length=8, max_length=64)
    kind: RecordKind
    #: Seconds since it happened, so that a wrong clock on the device does no harm.
    age_seconds: Age = 0.0
    run_id: int | None = None
    round: int | None = None
    name: Said = Field(default="", max_length=200)
    value: Finite | None = None
    text: Said = Field(default="", max_length=20_000)
    data: dict[str, Any] = Field(default_factory=dict)


class RecordBatch(Report):
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


class TelemetryRead(Reply):
    """What a device measured of itself at one moment."""

    at: float
    #: The run that it trained for then.
    run_id: int | None
    #: By name with unit, such as ``cpu_percent`` or ``memory_free_mb``; what it cannot measure is not there.
    values: dict[str, Any]


class RecordsAccepted(Reply):
    accepted: int
    duplicates: int
    refused: list[str] = Field(default_factory=list)
    #: Not kept, because the device reports more than one may. It must not send them again.
    dropped: int = 0
