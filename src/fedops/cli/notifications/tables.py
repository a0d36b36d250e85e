"""Notification channels and their messages on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from fedops.console.format import fields, moment, table_of
from fedops.core import contracts as c
from fedops.core.states import NotificationRule, NotificationStatus


def channels_table(channels: Sequence[c.ChannelRead]) -> RenderableType:
    if not channels:
        return "No channel yet: 'fedops notification add NAME --webhook URL' makes one."
    titles = ("NAME", "KIND", "TO", "TELLS", "LAST", "WAITING")
    rows = [
        (
            one.name if one.enabled else f"{one.name} (off)",
            one.kind.value,
            one.address,
            _rules(one),
            _last(one),
            str(one.waiting or ""),
        )
        for one in channels
    ]
    return table_of(titles, rows, right=("WAITING",), optional=("WAITING",))


def channel_fields(one: c.ChannelRead) -> RenderableType:
    return fields(
        {
            "channel": f"{one.name} ({one.kind.value}{'' if one.enabled else ', off'})",
            "to": ", ".join(one.mail.to) if one.mail else one.address,
            "mail server": f"{one.mail.host}:{one.mail.port}, {one.mail.security}"
            if one.mail
            else "",
            "from": one.mail.sender if one.mail else "",
            "secret": "set, not shown" if one.has_secret else "none",
            "tells": _rules(one),
            "waiting runs": f"after {one.waiting_minutes:g} min",
            "lost devices": f"after {one.lost_minutes:g} min",
            "when over": "told" if one.resolved else "not told",
            "made": f"{moment(one.created_at)} by {one.created_by}",
            "last": _last(one),
        }
    )


def messages_table(messages: Sequence[c.NotificationRead]) -> RenderableType:
    if not messages:
        return "It was told nothing yet: 'fedops notification test NAME' sends a test."
    titles = ("AT", "STATUS", "TRIES", "MESSAGE", "WHY")
    rows = [
        (moment(one.at), _status(one), str(one.attempts), one.sentence, one.problem)
        for one in messages
    ]
    return table_of(titles, rows, right=("TRIES",), optional=("WHY",))


def _status(one: c.NotificationRead) -> str:
    if one.status is NotificationStatus.WAITING and one.attempts:
        return f"again {moment(one.next_at)}"
    return one.status.value


def _rules(one: c.ChannelRead) -> str:
    everything = len(one.rules) == len(NotificationRule)
    return "everything" if everything else ", ".join(rule.value for rule in one.rules)


def _last(one: c.ChannelRead) -> str:
    if one.last_at is None:
        return "nothing yet"
    return f"{moment(one.last_at)} {one.last_problem or 'sent'}"
