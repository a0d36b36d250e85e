"""The server itself: what it is, its tokens, its events."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

from fastapi import Path, Query

from fedops.core.contracts import EventRead, ServerInfo, TokenCreate, TokenRead
from fedops.processes.environment import describe_environment
from fedops.server.access import rules, tokens
from fedops.server.api.http.authentication import MAX_ID, PERSON, After, Server, Who
from fedops.server.api.http.routers import api_router
from fedops.server.devices import registry
from fedops.server.events import event_log
from fedops.server.runs import control
from fedops.server.services.health import find_shortage
from fedops.server.tasks import tasks
from fedops.server.tls.endpoint import certificate_until, join_url

router = api_router("server", PERSON)
TokenId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get("/info")
def info(server: Server, who: Who) -> ServerInfo:
    """What this server is, and how much it is doing."""
    now = server.clock()
    with server.db.read() as session:
        known = registry.list_devices(session, now, within=who.tasks)
        active = control.active_count(session, who.tasks)
    lacking = find_shortage(server.settings.home)
    return ServerInfo(
        version=version("fedops"),
        server_time=now,
        engine=server.engine_why,
        devices_online=sum(device.online for device in known),
        devices=len(known),
        active_runs=active,
        environment=describe_environment(),
        problems=[f"{lacking.named()}: {lacking.remedy}"] if lacking else [],
        join_url=join_url(server.settings),
        certificate_until=certificate_until(server.settings),
        insecure=server.settings.is_insecure,
    )


@router.post("/tokens", status_code=201)
def create_token(body: TokenCreate, server: Server) -> TokenRead:
    """Make a join token. Its secret is in this answer and nowhere else."""
    with server.db.write() as session:
        if body.task is not None:
            tasks.read_task(session, body.task)
        return tokens.create_join_token(session, body, server.clock())


@router.get("/tokens")
def list_tokens(server: Server) -> list[TokenRead]:
    """Join tokens, newest first, without their secrets."""
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
    who: Who,
    after: After = 0,
    run_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
) -> list[EventRead]:
    """What happened, oldest first, a page at a time: go on with ``after`` = the last id."""
    with server.db.read() as session:
        return event_log.list_events(
            session,
            after=after,
            run_id=run_id,
            within=who.tasks,
            audits=all(role in rules.AUDITS for role in who.roles),
        )
