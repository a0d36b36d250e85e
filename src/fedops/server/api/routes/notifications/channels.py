"""Notifications: who is told of what happens, and what became of each message."""

from __future__ import annotations

import asyncio

from fedops.core.contracts import ChannelCreate, ChannelRead, ChannelUpdate, NotificationRead
from fedops.server.api.http.authentication import PERSON, Limit, Named, Server
from fedops.server.api.http.routers import api_router
from fedops.server.notifications import channels, keeping, outbox

router = api_router("notifications", PERSON)
_ONE = "/notifications/{channel}"


@router.get("/notifications")
def list_channels(server: Server) -> list[ChannelRead]:
    """The channels, by name, with their last delivery. Secrets are not shown."""
    with server.db.read() as session:
        return channels.list_channels(session)


@router.post("/notifications", status_code=201)
async def add_channel(body: ChannelCreate, server: Server) -> ChannelRead:
    """Add a channel. It hears of what happens from now on."""
    at = server.clock()
    return await asyncio.to_thread(keeping.add, server.db, server.channel_secrets, body, at)


@router.get(_ONE)
def get_channel(channel: Named, server: Server) -> ChannelRead:
    """One channel."""
    with server.db.read() as session:
        return channels.read_channel(session, channel)


@router.patch(_ONE)
async def change_channel(channel: Named, body: ChannelUpdate, server: Server) -> ChannelRead:
    """Change what is given; the rest stays."""
    secrets, at = server.channel_secrets, server.clock()
    return await asyncio.to_thread(keeping.change, server.db, secrets, channel, body, at)


@router.delete(_ONE)
async def remove_channel(channel: Named, server: Server) -> ChannelRead:
    """Remove it with its messages; it is answered as it was."""
    secrets, at = server.channel_secrets, server.clock()
    return await asyncio.to_thread(keeping.remove, server.db, secrets, channel, at)


@router.post(_ONE + "/test", status_code=202)
async def test_channel(channel: Named, server: Server) -> NotificationRead:
    """Have a test message sent. Its state is among the messages of the channel a moment later."""
    made = await server.change(lambda s: outbox.queue_test(s, channel, server.clock()))
    server.wake_notifications()
    return made


@router.get(_ONE + "/messages")
def list_messages(channel: Named, server: Server, limit: Limit = 50) -> list[NotificationRead]:
    """The newest messages of a channel, newest first, each with what became of it."""
    with server.db.read() as session:
        return outbox.list_messages(session, channel, limit)
