"""The server itself: what it is, its backups, and how it refuses."""

from __future__ import annotations

from fedops.core.contracts.base import Reply


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


class ErrorReply(Reply):
    """Every 4xx and 5xx answer of the API."""

    kind: str
    error: str
    message: str
