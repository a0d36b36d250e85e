"""Who asks: admitted by the bearer token and the table of routes, before the body is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fedops.core.contracts import NAME_PATTERN, PROTOCOL_HEADER, RELEASE_HEADER, ErrorReply
from fedops.core.errors import Forbidden
from fedops.core.states import TokenKind
from fedops.processes.log_context import about
from fedops.server.access import permissions
from fedops.server.access.principal import Principal
from fedops.server.access.rules import Rule, require_allowed
from fedops.server.access.task_limits import require_theirs
from fedops.server.access.tokens import Unauthorized
from fedops.server.events.acting import Person, acting_as
from fedops.server.protocol.addresses import plain_address
from fedops.server.protocol.protocol_version import require_protocol
from fedops.server.services.services import Services

_bearer = HTTPBearer(auto_error=False, description="The token of a user, a device or an attempt.")


# Coroutines, though they wait for nothing: a plain function is called in a thread, which costs more than it.
async def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Server = Annotated[Services, Depends(_services)]


# Only for the API's description: a request is admitted before anything else is done with it.
async def _person(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    found: Principal = request.state.principal
    return found


async def _device(principal: Who) -> str:
    return principal.device_id or ""


async def _attempt(principal: Who, services: Server) -> int:
    attempt_id = principal.attempt_id or 0
    services.pulse.heard(attempt_id)
    return attempt_id


#: The caller, as who was admitted.
Who = Annotated[Principal, Depends(_person)]
#: For routers whose every endpoint is for users, each for the roles that ``permissions`` says.
PERSON = Depends(_person)
#: The id of the device, or of the attempt, that asks.
DeviceId = Annotated[str, Depends(_device)]
AttemptId = Annotated[int, Depends(_attempt)]


@contextmanager
def admitted(request: Request, principal: Principal | None) -> Iterator[None]:
    """What is done in this block is done for this caller."""
    request.state.principal = principal
    with about(**request.path_params):
        if principal is None or principal.user is None:
            yield
            return
        with acting_as(Person(principal.user, principal.token_id, address_of(request))):
            yield


async def admit(request: Request, route: str) -> Principal | None:
    """Who calls, if the route asks for that, once it is clear that they may: by the headers alone.

    ``Forbidden`` (401 or 403) or ``NotFound`` when they may not.
    """
    rule = permissions.rule_of(request.method, route)
    if rule.machines:
        said = request.headers.get
        require_protocol(said(PROTOCOL_HEADER, ""), said(RELEASE_HEADER, ""))
    if rule.open:
        return None
    services: Services = request.app.state.services
    authorization = request.headers.get("authorization", "")
    try:
        principal = await services.token_cache.principal_of(authorization, "a token")
    except Unauthorized as error:
        if authorization:
            await services.sign_in.token_refused(error.message, address_of(request))
        raise
    require_allowed(principal, rule)
    if principal.kind is TokenKind.SESSION:
        raise Forbidden("a browser's session opens pages, not the API: send a personal token")
    if principal.tasks is not None:
        await asyncio.to_thread(_require_theirs, services, principal, rule, request)
    return principal


def _require_theirs(services: Services, principal: Principal, rule: Rule, request: Request) -> None:
    asked = {name: request.query_params.getlist(name) for name in request.query_params}
    with services.db.read() as session:
        require_theirs(session, principal, rule.of, request.path_params, asked)


def address_of(request: Request) -> str | None:
    """Where a request comes from."""
    return plain_address(request.client.host if request.client else None)


MAX_ID = 2**63 - 1
RunId = Annotated[int, Path(ge=1, le=MAX_ID)]
Named = Annotated[str, Path(pattern=NAME_PATTERN)]
NameFilter = Annotated[str | None, Query(pattern=NAME_PATTERN)]
After = Annotated[int, Query(ge=0, le=MAX_ID)]
Limit = Annotated[int, Query(ge=1, le=1_000)]

#: What every endpoint may answer beside its result.
ERRORS: dict[int | str, dict[str, object]] = {
    "4XX": {"model": ErrorReply, "description": "What is wrong, where, and what to do."},
    "5XX": {"model": ErrorReply, "description": "Something the server needs is out of reach."},
}
