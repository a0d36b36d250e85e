"""What one types of a channel, and the request that is made of it. Secrets are never arguments."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fedops.cli import options
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.core.states import NotificationRule

VARIABLE = "FEDOPS_NOTIFICATION_SECRET"
_PORT = 587
#: A secret is shorter than this. Bytes.
_MOST_BYTES = 4_096

Webhook = Annotated[
    str | None,
    typer.Option("--webhook", metavar="URL", help="POST a signed JSON document to this address."),
]
Slack = Annotated[
    bool, typer.Option("--slack", help="A chat that takes Slack's messages; its URL is the secret.")
]
Email = Annotated[
    list[str] | None,
    typer.Option("--email", metavar="ADDRESS", help="E-mail to this address; may be repeated."),
]
MailServer = Annotated[
    str | None,
    typer.Option("--mail-server", metavar="HOST[:PORT]", help="Where mail is handed in."),
]
Sender = Annotated[
    str | None, typer.Option("--from", metavar="ADDRESS", help="The sender of the e-mail.")
]
MailUser = Annotated[
    str | None, typer.Option("--mail-user", metavar="NAME", help="Who signs in there, if anybody.")
]
Security = Annotated[
    str | None,
    typer.Option("--mail-security", metavar="HOW", help="starttls (default), tls or none."),
]
Secret = Annotated[
    bool,
    typer.Option("--secret", help="Ask for its secret, or read it from stdin. See the help above."),
]
SecretFile = Annotated[
    Path | None, typer.Option("--secret-file", metavar="FILE", help="Read its secret from a file.")
]
Rules = Annotated[
    list[NotificationRule] | None,
    typer.Option(
        "--rule",
        metavar="RULE",
        help=f"Tell this: {', '.join(NotificationRule)}; may be repeated. Default: all.",
    ),
]
Waiting = Annotated[
    float | None,
    typer.Option("--waiting-minutes", metavar="N", help="A run may wait for so long (10)."),
]
Lost = Annotated[
    float | None,
    typer.Option("--lost-minutes", metavar="N", help="A device may be away for so long (10)."),
]
Resolved = Annotated[
    bool | None,
    typer.Option("--resolved/--no-resolved", help="Also tell when it is over (yes)."),
]
Unencrypted = Annotated[
    bool | None,
    typer.Option("--unencrypted/--encrypted", help="It may be reached in the clear, anywhere."),
]
Enabled = Annotated[bool | None, typer.Option("--on/--off", help="Whether it is told anything.")]


@dataclass(frozen=True)
class Typed:
    """Options as they were typed. None: not at all."""

    webhook: str | None
    slack: bool
    email: list[str] | None
    mail_server: str | None
    sender: str | None
    mail_user: str | None
    security: str | None
    secret: bool
    secret_file: Path | None
    rules: list[NotificationRule] | None
    waiting: float | None
    lost: float | None
    resolved: bool | None
    unencrypted: bool | None
    enabled: bool | None

    def create(self, name: str) -> c.ChannelCreate:
        """A new channel. ``Invalid`` unless one kind is named."""
        kinds = {
            "webhook": self.webhook is not None,
            "slack": self.slack,
            "email": bool(self.email),
        }
        named = [kind for kind, given in kinds.items() if given]
        if len(named) != 1:
            raise Invalid("name one kind of channel: --webhook URL, --slack, or --email ADDRESS")
        secret = self.read_secret("The URL that Slack made" if self.slack else "Secret", self.slack)
        values = {"url": self.webhook, "mail": self._mail(None), "secret": secret, **self._plain()}
        return options.request(c.ChannelCreate, name=name, kind=named[0], **_given(values))

    def update(self, former: c.ChannelRead) -> c.ChannelUpdate:
        """What is to be different. ``Invalid`` when it is nothing."""
        secret = self.read_secret("New secret", False)
        mail = self._mail(former.mail)
        mail = None if mail == former.mail else mail
        values = _given({"url": self.webhook, "mail": mail, "secret": secret, **self._plain()})
        if not values:
            raise Invalid("nothing is changed: name what is to be different")
        return options.request(c.ChannelUpdate, **values)

    def _plain(self) -> dict[str, Any]:
        return {
            "rules": self.rules or None,
            "waiting_minutes": self.waiting,
            "lost_minutes": self.lost,
            "resolved": self.resolved,
            "unencrypted": self.unencrypted,
            "enabled": self.enabled,
        }

    def _mail(self, former: c.MailServer | None) -> c.MailServer | None:
        values = former.model_dump() if former else {}
        if self.mail_server is not None:
            host, colon, port = self.mail_server.rpartition(":")
            values["host"] = host if colon else self.mail_server
            values["port"] = port if colon else values.get("port", _PORT)
        values |= _given(
            {
                "to": self.email or None,
                "sender": self.sender,
                "user": self.mail_user,
                "security": self.security,
            }
        )
        if not values:
            return None
        lacking = [
            option
            for key, option in (("host", "--mail-server"), ("sender", "--from"), ("to", "--email"))
            if key not in values
        ]
        if lacking:
            raise Invalid(f"e-mail needs {' and '.join(lacking)}")
        return options.request(c.MailServer, **values)

    def read_secret(self, question: str, needed: bool) -> str | None:
        """From a file, the environment, a terminal or stdin; None: there is none."""
        if self.secret_file is not None:
            return self.secret_file.read_bytes()[:_MOST_BYTES].decode("utf-8", "replace").strip()
        if (known := os.environ.get(VARIABLE, "")) and (self.secret or needed):
            return known
        if not (self.secret or needed):
            return None
        if sys.stdin.isatty():
            return str(typer.prompt(question, hide_input=True, err=True)).strip()
        line = sys.stdin.readline().strip()
        if not line:
            raise Invalid(
                f"no secret given: set {VARIABLE}, name --secret-file, or pipe it in as a line"
            )
        return line


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
