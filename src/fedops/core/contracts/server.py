"""The server itself: what it is, its backups, how it refuses, and whom it tells of what happens."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from fedops.core.contracts.base import Finite, Name, Reply, Request, Said, ShortText
from fedops.core.errors import FedOpsError, from_reply
from fedops.core.states import ChannelKind, NotificationRule, NotificationStatus


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


# --- notifications ----------------------------------------------------------------------------

MailAddress = Annotated[str, Field(max_length=254)]
Rules = Annotated[list[NotificationRule], Field(min_length=1, max_length=len(NotificationRule))]
#: From a minute to a month.
Minutes = Annotated[Finite, Field(ge=1, le=43_200)]
#: A signing secret, the URL of a Slack-compatible webhook, or the password of a mail account.
ChannelSecret = Annotated[str, Field(max_length=2_000)]


class MailServer(Request):
    """Where e-mail is handed in, from whom it is, and to whom it goes."""

    host: ShortText
    port: int = Field(default=587, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    #: "": nobody signs in.
    user: ShortText = ""
    sender: MailAddress
    to: list[MailAddress] = Field(min_length=1, max_length=50)


class ChannelCreate(Request):
    """A way to tell somebody. A webhook needs its ``url``, e-mail its ``mail``, Slack its ``secret``.

    ``secret``: what signs a webhook's calls, the URL that Slack made, or the password of the mail account.
    """

    name: Name
    kind: ChannelKind
    url: str = Field(default="", max_length=2_000)
    mail: MailServer | None = None
    secret: ChannelSecret = Field(default="", repr=False)
    rules: Rules = Field(default_factory=lambda: list(NotificationRule))
    waiting_minutes: Minutes = 10.0
    lost_minutes: Minutes = 10.0
    resolved: bool = True
    #: It may be reached without encryption, wherever it is.
    unencrypted: bool = False
    enabled: bool = True


class ChannelUpdate(Request):
    """What is None stays."""

    url: str | None = Field(default=None, max_length=2_000)
    mail: MailServer | None = None
    secret: ChannelSecret | None = Field(default=None, repr=False)
    rules: Rules | None = None
    waiting_minutes: Minutes | None = None
    lost_minutes: Minutes | None = None
    resolved: bool | None = None
    unencrypted: bool | None = None
    enabled: bool | None = None


class ChannelRead(Reply):
    """``address``: as it may be shown. ``last_problem``: why the last try failed; "": it was sent."""

    name: str
    kind: ChannelKind
    address: str
    mail: MailServer | None
    has_secret: bool
    rules: list[NotificationRule]
    waiting_minutes: float
    lost_minutes: float
    resolved: bool
    unencrypted: bool
    enabled: bool
    created_at: float
    created_by: str
    last_at: float | None
    last_problem: str
    #: Messages that are still to be sent.
    waiting: int


class NotificationRead(Reply):
    """A message for one channel, and what became of it. ``rule``: or "test"."""

    id: int
    #: The same at every try: a receiver can tell a repetition by it.
    delivery: str
    rule: str
    over: bool
    sentence: str
    page: str
    command: str
    at: float
    status: NotificationStatus
    attempts: int
    #: When it is tried next, while it waits.
    next_at: float
    ended_at: float | None
    problem: Said
