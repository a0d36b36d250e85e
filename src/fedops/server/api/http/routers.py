"""What all routers of the API have in common."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from fedops.server.api.http.authentication import ERRORS
from fedops.server.api.http.request_body import StrictRoute


def api_router(tag: str, guard: Any, *, prefix: str = "") -> APIRouter:
    """Routes that read their bodies strictly, answer errors in one way, and ask ``guard`` first."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=[guard],
        route_class=StrictRoute,
        responses=ERRORS,
    )
