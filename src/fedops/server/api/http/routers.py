"""What all routers of the API have in common."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from fedops.server.access.permissions import PREFIX
from fedops.server.api.http.authentication import ERRORS
from fedops.server.api.http.request_body import StrictRoute


def api_router(tag: str, guard: Any = None, *, prefix: str = "") -> APIRouter:
    """Routes that admit their caller, read their bodies strictly, and answer errors in one way.

    ``guard`` says in the API's description what they ask for.
    """
    return APIRouter(
        prefix=PREFIX + prefix,
        tags=[tag],
        dependencies=[guard] if guard else [],
        route_class=StrictRoute,
        responses=ERRORS,
    )
