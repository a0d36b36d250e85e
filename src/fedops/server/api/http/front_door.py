"""The door: what devices call all the time goes straight to its own small app, the rest to FastAPI.

FastAPI, the pages and their middleware cost more than a whole poll of a device.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send


class FrontDoor:
    """An ASGI app that chooses another by the beginning of the path."""

    def __init__(self, by_prefix: Mapping[str, ASGIApp], otherwise: ASGIApp) -> None:
        self._by_prefix = tuple(by_prefix.items())
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope)(scope, receive, send)

    def _app(self, scope: Scope) -> ASGIApp:
        if scope["type"] == "http":
            path = scope["path"]
            for prefix, app in self._by_prefix:
                if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                    return app
        return self._otherwise
