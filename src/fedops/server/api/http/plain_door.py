"""What answers on a TLS port who speaks plain HTTP there, and on the port for the server's own FL servers."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fedops.core.contracts import ErrorReply
from fedops.core.errors import FedOpsError, NotFound
from fedops.server.protocol.protocol_version import UpgradeRequired


class PlainDoor:
    """Sends browsers to https, and tells everybody else to use it. Looks at no token and reads no body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _answer(Request(scope))(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})


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
