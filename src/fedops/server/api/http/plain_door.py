"""What answers on a TLS port who speaks plain HTTP there, and on the port for the server's own FL servers."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fedops.core.contracts import ErrorReply
from fedops.core.errors import FedOpsError, NotFound
from fedops.server.protocol.protocol_version import UpgradeRequired


class PlainDoor:
    """Sends browsers to https, and tells others to use it. It looks at no token and reads no body.

    ``app`` answers what begins with ``always``; and what begins with ``devices``, until a time that may pass
    while the server runs: that is for devices that joined before the server spoke TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        always: tuple[str, ...] = (),
        devices: tuple[str, ...] = (),
        until: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app, self._always, self._devices = app, always, devices
        self._until, self._clock = until, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif self._lets_through(scope["path"]):
            await self._app(scope, receive, send)
        else:
            await _answer(Request(scope))(scope, receive, send)

    def _lets_through(self, path: str) -> bool:
        open_now = self._clock() < self._until
        paths = (*self._always, *self._devices) if open_now else self._always
        return any(path == one or path.startswith(f"{one}/") for one in paths)


def _answer(request: Request) -> Response:
    if request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(request.url.replace(scheme="https"), status_code=307)
    host = request.headers.get("host", "HOST:PORT")[:200]
    return _refusal(
        UpgradeRequired(
            f"this server speaks TLS only: use https://{host}, and on a device the whole line that "
            "'fedops token create' shows, which has the fingerprint of the server's authority"
        )
    )


class OnlyBelow:
    """An app of which only what begins with certain paths is there."""

    def __init__(self, app: ASGIApp, *paths: str) -> None:
        self._app, self._paths = app, tuple(f"{path}/" for path in paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(self._paths):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            text = f"there is nothing at {scope['path'][:200]}: this port is for FL servers alone"
            await _refusal(NotFound(text))(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})


def _refusal(error: FedOpsError) -> Response:
    headers = {"connection": "close"}
    if error.http_status == 426:
        headers |= {"upgrade": "TLS/1.2"}
    return JSONResponse(ErrorReply.of(error).model_dump(), error.http_status, headers)
