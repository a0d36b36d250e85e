"""The gate before the pages: without a session they answer nobody, live updates included."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedops.core.errors import FedOpsError
from fedops.core.states import TokenKind
from fedops.server.access import permissions
from fedops.server.access.permissions import LIVE_UPDATES, PAGE
from fedops.server.access.principal import Principal
from fedops.server.access.token_cache import TokenCache

COOKIE = "fedops_session"
SIGN_IN = "/sign-in"
#: What has a check of its own, or needs none.
_ELSEWHERE = frozenset(
    {
        "/health",
        "/ca.pem",
        SIGN_IN,
        f"{SIGN_IN}/style.css",
        f"{SIGN_IN}/code.js",
        "/sign-out",
    }
)
_BELOW = ("/api/", "/v1/", "/simple/")
#: How soon live updates end after their session. Seconds.
LOOK_SECONDS = 1.0
_POLICY_VIOLATION = 1008


async def session_principal(tokens: TokenCache, secret: str | None) -> Principal | None:
    """Whose session the cookie is, if it is one's that may see pages."""
    if not secret:
        return None
    try:
        found = tokens.known(secret)
        if found is None:
            found = await asyncio.to_thread(tokens.look_up, secret)
        permissions.require_allowed(found, permissions.ROUTES[PAGE])
        permissions.require_allowed(found, permissions.ROUTES[LIVE_UPDATES])
    except FedOpsError:
        return None
    return found if found.kind is TokenKind.SESSION else None


def cookie_of(headers: Mapping[str, str]) -> str | None:
    """The session's secret that a browser sends."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def is_same_origin(headers: Mapping[str, str], public_url: str) -> bool:
    """Whether a page of this server sent it, as a browser says. Who says nothing is no other's page."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return True
    ours = {headers.get("host", "").lower(), urlsplit(public_url).netloc.lower()}
    return urlsplit(origin).netloc.lower() in ours


class PageGate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, tokens: TokenCache, public_url: str) -> None:
        self._app = app
        self._tokens = tokens
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _is_elsewhere(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        secret = cookie_of(headers)
        if await session_principal(self._tokens, secret) is None:
            await _refuse(scope, receive, send)
        elif scope["type"] == "http":
            await self._app(scope, receive, send)
        elif is_same_origin(headers, self._public_url):
            await self._watched(scope, receive, send, secret)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    async def _watched(
        self, scope: Scope, receive: Receive, send: Send, secret: str | None
    ) -> None:
        """A live connection, which ends with its session."""
        next_message: asyncio.Task[Message] | None = None

        async def receive_while_signed_in() -> Message:
            nonlocal next_message
            while True:
                next_message = next_message or asyncio.ensure_future(_next(receive))
                done, _ = await asyncio.wait({next_message}, timeout=LOOK_SECONDS)
                if await session_principal(self._tokens, secret) is None:
                    await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
                    return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION}
                if done:
                    message, next_message = next_message.result(), None
                    return message

        try:
            await self._app(scope, receive_while_signed_in, send)
        finally:
            if next_message is not None:
                next_message.cancel()


async def _next(receive: Receive) -> Message:
    return await receive()


def _is_elsewhere(path: str) -> bool:
    return path in _ELSEWHERE or path.startswith(_BELOW)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    page = scope["method"] in ("GET", "HEAD") and not scope["path"].startswith("/_nicegui")
    answer: Any = (
        RedirectResponse(SIGN_IN, status_code=303)
        if page
        else PlainTextResponse("sign in first\n", status_code=401)
    )
    await answer(scope, receive, send)
