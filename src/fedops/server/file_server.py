"""A file server: a process beside the Server Managers of a database, for the files alone.

It hears what they change and writes what is delivered. It never leads and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fedops.core.contracts import ErrorReply
from fedops.core.errors import FedOpsError, NotFound
from fedops.server.api.http.front_door import FrontDoor
from fedops.server.assembly import Member, assemble_file_server
from fedops.server.blob_app.app import MOUNT
from fedops.server.edge.gate import Gate
from fedops.server.edge.guarded import guarded
from fedops.server.protocol.error_replies import HEADERS, log_trouble
from fedops.server.services.health import health_of
from fedops.settings import ServerSettings

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def open_file_server(settings: ServerSettings) -> Member:
    """Its parts, with everything done that can fail for a reason the user can act on."""
    member = assemble_file_server(settings)
    try:
        member.open()
    except FedOpsError:
        member.db.close()
        raise
    return member


def file_app(member: Member) -> Gate:
    """What a web server serves: the blob routes, and whether it is well. The parts are open."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        member.writer.start()
        await asyncio.to_thread(member.start)
        try:
            yield
        finally:
            await asyncio.to_thread(member.close)

    def health(_: Request) -> Response:
        return JSONResponse(
            health_of(member.db, member.settings.home).model_dump(exclude_unset=True)
        )

    routes = [Route("/health", health), Route("/{path:path}", _nothing_here, methods=_METHODS)]
    rest = Starlette(routes=routes, lifespan=lifespan, exception_handlers={FedOpsError: _as_answer})
    return guarded(FrontDoor({MOUNT: member.blobs}, rest), member.tokens, member.settings)


def _nothing_here(request: Request) -> Response:
    path = request.url.path[:200]
    raise NotFound(
        f"there is nothing at {path}: this is a file server, which has {MOUNT} and /health alone; "
        "ask the Server Manager"
    )


def _as_answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, FedOpsError)
    log_trouble(error)
    headers = HEADERS.get(error.http_status)
    return JSONResponse(ErrorReply.of(error).model_dump(), error.http_status, headers)
