"""Routes that admit their caller, then read their body with a size limit and as strict JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from fedops.server.api.http import strict_json
from fedops.server.api.http.authentication import admit, admitted
from fedops.server.protocol.refusals import TooLarge

#: Bodies beyond this are parsed in a thread, so that they do not hold up everybody else.
_LARGE = 64 << 10
#: What somebody may send who has shown no token: to join, or to sign in.
_UNKNOWN_CALLER = 16 << 10


class StrictRequest(Request):
    """A request whose JSON was read and checked before the handler sees it."""

    async def load(self, limit: int) -> None:
        """Read the body, at most ``limit`` bytes of it."""
        self._body = await read_limited(self, limit)
        if len(self._body) > _LARGE:
            self._json = await run_in_threadpool(strict_json.loads, self._body)
        else:
            self._json = strict_json.loads(self._body) if self._body else None


async def read_limited(request: Request, limit: int) -> bytes:
    """The whole body. ``TooLarge`` as soon as it is known to be."""
    refuse_announced(request, limit)
    blocks, size = [], 0
    async for block in request.stream():
        size += len(block)
        refuse_size(size, limit)
        blocks.append(block)
    return b"".join(blocks)


def refuse_announced(request: Request, limit: int) -> None:
    """``TooLarge`` when the header says so already."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit():
        refuse_size(int(announced), limit)


def refuse_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"the body is larger than the {limit:,} bytes this server takes at once")


class StrictRoute(APIRoute):
    """Every route of the API is one: who may not call it is refused before the body is read."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handler: Callable[[Request], Awaitable[Response]] = super().get_route_handler()
        has_body, route = self.body_field is not None, self.path_format

        async def admit_first(request: Request) -> Response:
            principal = await admit(request, route)
            with admitted(request, principal):
                small = principal is None
                return await handler(await _loaded(request, small) if has_body else request)

        return admit_first


async def _loaded(request: Request, small: bool) -> Request:
    """``small``: nobody has said yet who they are."""
    strict = StrictRequest(request.scope, request.receive)
    limit: Any = request.app.state.services.settings.max_body_bytes
    await strict.load(min(limit, _UNKNOWN_CALLER) if small else limit)
    return strict
