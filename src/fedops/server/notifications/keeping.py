"""A channel and its secret's file, kept together: what fails leaves neither."""

from __future__ import annotations

from fedops.core.contracts import ChannelCreate, ChannelRead, ChannelUpdate
from fedops.server.database.database import Database
from fedops.server.notifications import channels
from fedops.server.notifications.channel_secrets import ChannelSecrets


def add(db: Database, secrets: ChannelSecrets, body: ChannelCreate, now: float) -> ChannelRead:
    """A new channel.

    Raises:
        Invalid: it cannot be like this.
        Conflict: there is one of this name, or there are too many.
        Unavailable: its secret cannot be kept.
    """
    channels.require_sound(body)
    with secrets.kept(body.name, body.secret) as file, db.write() as session:
        return channels.add_channel(session, body, file, now)


def change(
    db: Database, secrets: ChannelSecrets, name: str, body: ChannelUpdate, now: float
) -> ChannelRead:
    """A channel that is different in what ``body`` says. ``NotFound``, or as ``add``."""
    given = frozenset(body.model_dump(exclude_none=True))
    with db.read() as session:
        row = channels.require_channel(session, name)
        former, reaches = row.secret, bool(given & channels.REACHING)
        known = secrets.read(former) if reaches and body.secret is None else ""
        wanted = channels.changed(row, body, known)
    if reaches:
        channels.require_sound(wanted)
    if body.secret is None:
        with db.write() as session:
            return channels.change_channel(session, wanted, None, given, now)
    with secrets.kept(name, body.secret) as file, db.write() as session:
        read = channels.change_channel(session, wanted, file, given, now)
    secrets.forget(former)
    return read


def remove(db: Database, secrets: ChannelSecrets, name: str, now: float) -> ChannelRead:
    """The channel as it was; it and its messages are gone. ``NotFound``: there is none."""
    with db.write() as session:
        read, file = channels.remove_channel(session, name, now)
    secrets.forget(file)
    return read
