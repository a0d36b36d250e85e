"""The server itself: what it is, its tokens, its events."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

from fastapi import Path, Query

from fedops.core.contracts import EventRead, ServerInfo, TokenCreate, TokenRead
from fedops.server.access import tokens
from fedops.server.api.http.authentication import ADMIN, MAX_ID, After, Server
from fedops.server.api.http.routers import api_router
from fedops.server.devices import registry
from fedops.server.events import event_log
from fedops.server.runs import control
from fedops.server.tls.endpoint import certificate_until, join_url

router = api_router("server", ADMIN)
TokenId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get("/info")
def info(server: Server) -> ServerInfo:
    """What this server is, and how much it is doing."""
    now = server.clock()
    with server.db.read() as session:
        known = registry.list_devices(session, now)
        active = control.active_count(session)
    return ServerInfo(
        version=version("fedops"),
        server_time=now,
        engine=server.engine_why,
        devices_online=sum(device.online for device in known),
        devices=len(known),
        active_runs=active,
        join_url=join_url(server.settings),
        certificate_until=certificate_until(server.settings),
        insecure=server.settings.is_insecure,
    )


@router.post("/tokens", status_code=201)
def create_token(body: TokenCreate, server: Server) -> TokenRead:
    """Make a join token. Its secret is in this answer and nowhere else."""
    with server.db.write() as session:
        return tokens.create_join_token(session, body, server.clock())


@router.get("/tokens")
def list_tokens(server: Server) -> list[TokenRead]:
    """Join and admin tokens, newest first, without their secrets."""
    with server.db.read() as session:
        return tokens.list_tokens(session)


@router.post("/tokens/{token_id}/revoke")
def revoke_token(token_id: TokenId, server: Server) -> TokenRead:
    """Make a token worthless."""
    with server.db.write() as session:
        return tokens.revoke_token(session, token_id, server.clock())


@router.get("/events")
def list_events(
    server: Server,
    after: After = 0,
    run_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
) -> list[EventRead]:
    """What happened, oldest first, a page at a time: go on with ``after`` = the last id."""
    with server.db.read() as session:
        return event_log.list_events(session, after=after, run_id=run_id)
