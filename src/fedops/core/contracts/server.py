"""The server itself: what it is, its backups, and how it refuses."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from fedops.core.contracts.base import Reply
from fedops.core.errors import FedOpsError, from_reply


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
    #: What it runs on, and so the FL servers that it starts: Python, platform, versions of libraries.
    environment: dict[str, str] = Field(default_factory=dict)
    #: What the server lacks just now, such as room on its disk, and what to do about it.
    problems: list[str] = Field(default_factory=list)
    #: What devices join: the server's URL and, if they are to pin one, its authority's fingerprint.
    join_url: str = ""
    #: When the certificate ends that the server shows, if it shows one itself.
    certificate_until: float | None = None
    #: Others can reach it, and nobody encrypts.
    insecure: bool = False


class Health(Reply):
    """Whether the server is well. Who asks needs no token, so it names no folder."""

    status: Literal["ok", "degraded"]
    #: What it lacks, when it is degraded.
    why: str = ""


class ErrorReply(Reply):
    """Every 4xx and 5xx answer of the API. ``error`` names the class, which a caller may not know."""

    kind: str
    error: str
    message: str

    @classmethod
    def of(cls, error: FedOpsError) -> Self:
        """An error as the API says it. It may quote a request, which may be no valid Unicode."""
        message = error.message.encode("utf-8", "replace").decode("utf-8")
        return cls(kind=error.kind, error=type(error).__name__, message=message)

    def as_error(self) -> FedOpsError:
        """The error that this tells of."""
        return from_reply(self.kind, self.error, self.message)
