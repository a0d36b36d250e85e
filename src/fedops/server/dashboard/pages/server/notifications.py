"""Who is told of what happens: the channels, the messages of each, and the forms that change them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fedops.core.contracts import ChannelCreate, ChannelUpdate, MailServer, require_name
from fedops.core.errors import Invalid
from fedops.core.states import ChannelKind, NotificationRule
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.notifications import channels, keeping, outbox

_SHOWN = 50
_PAGE = "/notifications"
#: What each rule tells, as a form and a list say it.
RULES = {
    NotificationRule.RUN_FAILED: "a run failed",
    NotificationRule.RUN_WAITING: "a run waits for too long",
    NotificationRule.DEVICE_LOST: "a device is lost",
    NotificationRule.DRIFT: "the data of a task drift",
    NotificationRule.VERSION_QUARANTINED: "a version is quarantined",
    NotificationRule.ROLLOUT_STOPPED: "a rollout was stopped",
}
KINDS = {"webhook": "a webhook", "email": "e-mail", "slack": "a chat (such as Slack)"}
_SECURITY = {"starttls": "STARTTLS", "tls": "TLS from the beginning", "none": "none"}
_CHOICES: Mapping[str, Any] = {"words": RULES, "kinds": KINDS, "security": _SECURITY}


def listed(view: View) -> dict[str, Any]:
    """All channels, each with its last delivery."""
    return {**_CHOICES, "channels": channels.list_channels(view.session)}


def head(view: View) -> dict[str, Any]:
    """One channel."""
    return {**_CHOICES, "channel": _channel(view)}


def messages(view: View) -> dict[str, Any]:
    """The newest messages of a channel."""
    found = outbox.list_messages(view.session, view.path["channel"], _SHOWN)
    return {"messages": found, "channel": _channel(view), "most": _SHOWN}


def _channel(view: View) -> Any:
    name = view.path["channel"]
    return view.once("channel", lambda: channels.read_channel(view.session, name))


# --- forms -----------------------------------------------------------------------------------


def _new(view: View) -> dict[str, Any]:
    asked = view.query.get("kind", "")
    return {**_CHOICES, "kind": asked if asked in KINDS else "webhook", "channel": None}


def _existing(view: View) -> dict[str, Any]:
    found = _channel(view)
    return {**_CHOICES, "kind": found.kind.value, "channel": found}


async def _add(sent: Submission) -> Done:
    services, name = sent.services, require_name(sent.text("name"))
    kind = sent.text("kind")
    if kind not in KINDS:
        raise Invalid(f"'{kind[:40]}' is no kind of channel")
    body = ChannelCreate(
        name=name, kind=ChannelKind(kind), url=sent.text("url"), mail=_mail(sent, kind),
        secret=_secret(sent), **_plain(sent),
    )  # fmt: skip
    at = services.clock()
    await asyncio.to_thread(keeping.add, services.db, services.channel_secrets, body, at)
    return Done(f"{_PAGE}/{name}", f"Channel {name} is added. Send it a test.")


async def _change(sent: Submission) -> Done:
    services, name = sent.services, sent.path["channel"]
    found = await services.look(lambda s: channels.read_channel(s, name))
    mail = _mail(sent, found.kind.value)
    body = ChannelUpdate(
        url=sent.text("url") if found.kind is ChannelKind.WEBHOOK else None,
        mail=None if mail == found.mail else mail,
        secret=_secret(sent) or None,
        enabled=sent.text("enabled") == "yes",
        **_plain(sent),
    )
    if body.url == found.address:
        body = body.model_copy(update={"url": None})
    if body.unencrypted == found.unencrypted:
        body = body.model_copy(update={"unencrypted": None})
    at = services.clock()
    await asyncio.to_thread(keeping.change, services.db, services.channel_secrets, name, body, at)
    return Done(f"{_PAGE}/{name}", f"Channel {name} is changed.")


def _plain(sent: Submission) -> dict[str, Any]:
    rules = [rule for rule in RULES if rule.value in sent.fields.get("rule", [])]
    if not rules:
        raise Invalid("choose at least one thing that this channel is told")
    return {
        "rules": rules,
        "waiting_minutes": float(sent.whole("waiting_minutes", 1, 43_200)),
        "lost_minutes": float(sent.whole("lost_minutes", 1, 43_200)),
        "resolved": "resolved" in sent.fields,
        "unencrypted": "unencrypted" in sent.fields,
    }


def _mail(sent: Submission, kind: str) -> MailServer | None:
    if kind != ChannelKind.EMAIL.value:
        return None
    return MailServer.model_validate(
        {
            "host": sent.text("host"),
            "port": sent.whole("port", 1, 65_535),
            "security": sent.text("security"),
            "user": sent.text("user"),
            "sender": sent.text("sender"),
            "to": sent.words("to"),
        }
    )


def _secret(sent: Submission) -> str:
    """As it was typed: spaces around a password are a part of it; around a URL they are none."""
    typed = sent.fields.get("secret", [""])[-1]
    return typed.strip() if sent.text("kind") == ChannelKind.SLACK.value else typed


async def _test(sent: Submission) -> Done:
    services, name = sent.services, sent.path["channel"]
    await services.change(lambda s: outbox.queue_test(s, name, services.clock()))
    services.wake_notifications()
    said = "A test is on its way: what becomes of it is shown below."
    return Done(f"{_PAGE}/{name}", said)


async def _remove(sent: Submission) -> Done:
    services, name, at = sent.services, sent.path["channel"], sent.services.clock()
    await asyncio.to_thread(keeping.remove, services.db, services.channel_secrets, name, at)
    return Done(_PAGE, f"Channel {name} is removed.")


PAGES = (
    Page(
        path=_PAGE,
        template="server/notifications_page.html",
        section="more",
        title=lambda view: "Notifications",
        panels=lambda view: (Panel("channels", "server/notifications.html", listed),),
        concerns=any_event,
    ),
    Page(
        path="/notifications/{channel}",
        template="server/notification_page.html",
        section="more",
        title=lambda view: _channel(view).name,
        panels=lambda view: (
            Panel("channel", "server/notification.html", head),
            Panel("messages", "server/notification_messages.html", messages),
        ),
        concerns=any_event,
    ),
)
FORMS = (
    Form(
        "/new-notification",
        "server/notification_change.html",
        "more",
        lambda view: "Add a channel",
        _add,
        _new,
    ),
    Form(
        "/notifications/{channel}/change",
        "server/notification_change.html",
        "more",
        lambda view: f"Change channel {view.path['channel']}",
        _change,
        _existing,
    ),
    Form(
        "/notifications/{channel}/test",
        "server/notification_test.html",
        "more",
        lambda view: f"Send a test to {view.path['channel']}",
        _test,
        head,
    ),
    Form(
        "/notifications/{channel}/remove",
        "server/notification_remove.html",
        "more",
        lambda view: f"Remove channel {view.path['channel']}",
        _remove,
        head,
    ),
)
