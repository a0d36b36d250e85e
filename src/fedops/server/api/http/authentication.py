"""Who asks: the bearer token of a request as a principal of the right kind."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fedops.core.contracts import NAME_PATTERN, ErrorReply
from fedops.server.access.tokens import Principal, Unauthorized, require_kind
from fedops.server.services.services import Services

_bearer = HTTPBearer(auto_error=False, description="An admin, device or attempt token.")


# Coroutines, though they wait for nothing: a plain function is called in a thread, which costs more than it.
async def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Server = Annotated[Services, Depends(_services)]


def _principal(
    services: Server,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    if bearer is None or not bearer.credentials:
        raise Unauthorized(
            "this needs a token: send 'Authorization: Bearer TOKEN' "
            "(the file 'admin-token' in the server's folder holds the admin token)"
        )
    return services.authenticate(bearer.credentials)


Anyone = Annotated[Principal, Depends(_principal)]


async def _admin(principal: Anyone) -> Principal:
    return require_kind(principal, "admin")


async def _device(principal: Anyone) -> str:
    return require_kind(principal, "device").device_id or ""


async def _attempt(principal: Anyone, services: Server) -> int:
    attempt_id = require_kind(principal, "attempt").attempt_id or 0
    services.pulse.heard(attempt_id)
    return attempt_id


#: For routers whose every endpoint is the operator's.
ADMIN = Depends(_admin)
#: The id of the device, or of the attempt, that asks.
DeviceId = Annotated[str, Depends(_device)]
AttemptId = Annotated[int, Depends(_attempt)]

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
