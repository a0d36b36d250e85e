"""What Prometheus reads."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from fedops.server.api.http.authentication import Server, admit

_PATH = "/metrics"
router = APIRouter(include_in_schema=False)


@router.get(_PATH)
async def metrics(request: Request, server: Server) -> Response:
    """The numbers of this process and of its database, for who has a token or, if so set, for everybody."""
    if not server.settings.metrics_open:
        await admit(request, _PATH)
    accept = request.headers.get("accept", "")
    text, content_type = await asyncio.to_thread(server.measures.page, accept)
    return Response(text, headers={"content-type": content_type, "cache-control": "no-store"})
