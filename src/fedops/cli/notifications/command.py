"""``fedops notification``: who is told of what happens."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.notifications import channel_options as o
from fedops.cli.notifications.tables import channel_fields, channels_table, messages_table
from fedops.cli.operator_command import Operator, operator_command
from fedops.core import contracts as c
from fedops.core.errors import Unavailable
from fedops.core.states import NotificationStatus

app = options.group("Notifications: who is told of failed runs, lost devices and so on.")
#: How long a test is waited for, and how often it is looked for it. Seconds.
_WAIT_SECONDS, _LOOK_SECONDS = 30.0, 0.5
_OPEN = (NotificationStatus.WAITING, NotificationStatus.SENDING)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The channel's name.", callback=options.named)
]


@operator_command(app, "list")
def list_(operator: Operator) -> None:
    """List the channels, and what became of the last message of each."""
    found = operator.client.channels()
    operator.show(found, channels_table(found))


@operator_command(app)
def add(
    operator: Operator,
    name: Name,
    webhook: o.Webhook = None,
    slack: o.Slack = False,
    email: o.Email = None,
    mail_server: o.MailServer = None,
    sender: o.Sender = None,
    mail_user: o.MailUser = None,
    mail_security: o.Security = None,
    secret: o.Secret = False,
    secret_file: o.SecretFile = None,
    rule: o.Rules = None,
    waiting_minutes: o.Waiting = None,
    lost_minutes: o.Lost = None,
    resolved: o.Resolved = None,
    unencrypted: o.Unencrypted = None,
    enabled: o.Enabled = None,
) -> None:
    """Add a channel. It is told what happens from now on.

    Its secret signs the calls of a webhook, is the URL of a chat, or the password of the mail account.
    It is read from --secret-file, FEDOPS_NOTIFICATION_SECRET, the terminal or stdin.
    """
    typed = o.Typed(
        webhook, slack, email, mail_server, sender, mail_user, mail_security, secret, secret_file,
        rule, waiting_minutes, lost_minutes, resolved, unencrypted, enabled,
    )  # fmt: skip
    made = operator.client.add_channel(typed.create(name))
    told = f"Channel {name} goes to {made.address}. Try it: fedops notification test {name}"
    operator.show(made, told)


@operator_command(app)
def show(
    operator: Operator,
    name: Name,
    limit: Annotated[int, typer.Option("--limit", help="How many messages.")] = 10,
) -> None:
    """Show a channel and its newest messages, with why one failed."""
    read = operator.client.channel(name)
    messages = operator.client.notifications(name, limit)
    value = {"channel": read, "messages": messages}
    operator.show(value, channel_fields(read), "", messages_table(messages))


@operator_command(app)
def change(
    operator: Operator,
    name: Name,
    webhook: o.Webhook = None,
    email: o.Email = None,
    mail_server: o.MailServer = None,
    sender: o.Sender = None,
    mail_user: o.MailUser = None,
    mail_security: o.Security = None,
    secret: o.Secret = False,
    secret_file: o.SecretFile = None,
    rule: o.Rules = None,
    waiting_minutes: o.Waiting = None,
    lost_minutes: o.Lost = None,
    resolved: o.Resolved = None,
    unencrypted: o.Unencrypted = None,
    enabled: o.Enabled = None,
) -> None:
    """Change a channel: what you name; the rest stays.

    Its secret is read from --secret-file, or with --secret from FEDOPS_NOTIFICATION_SECRET, the terminal
    or stdin.
    """
    typed = o.Typed(
        webhook, False, email, mail_server, sender, mail_user, mail_security, secret, secret_file,
        rule, waiting_minutes, lost_minutes, resolved, unencrypted, enabled,
    )  # fmt: skip
    changed = operator.client.change_channel(name, typed.update(operator.client.channel(name)))
    operator.show(changed, f"Channel {name} is changed.", channel_fields(changed))


@operator_command(app)
def test(operator: Operator, name: Name) -> None:
    """Send a test message, and wait up to 30 s for what becomes of it."""
    asked = operator.client.test_channel(name)
    found = _wait_for(operator, name, asked)
    if found.status is NotificationStatus.FAILED:
        raise Unavailable(f"the test of channel {name} failed: {found.problem}")
    if found.status is not NotificationStatus.SENT:
        raise Unavailable(
            f"the test of channel {name} is not sent after {_WAIT_SECONDS:.0f} s: "
            f"'fedops notification show {name}' says later what became of it"
        )
    but = f" But {found.problem}." if found.problem else ""
    operator.show(found, f"The test of channel {name} was sent.{but}")


def _wait_for(operator: Operator, name: str, asked: c.NotificationRead) -> c.NotificationRead:
    until = time.monotonic() + _WAIT_SECONDS
    found = asked
    while found.status in _OPEN and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        messages = operator.client.notifications(name)
        found = next((one for one in messages if one.id == asked.id), found)
    return found


@operator_command(app)
def remove(operator: Operator, name: Name, yes: options.Yes = False) -> None:
    """Remove a channel, with its messages and its secret."""
    options.require_sure(f"Remove notification channel {name}?", yes)
    removed = operator.client.remove_channel(name)
    operator.show(removed, f"Channel {removed.name} is removed.")
