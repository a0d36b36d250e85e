"""Whose session a browser has, and whether it may open what it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from fedops.core.errors import FedOpsError, Forbidden
from fedops.core.states import TokenKind
from fedops.server.access.principal import Principal
from fedops.server.access.rules import Rule, require_allowed
from fedops.server.access.task_limits import require_theirs
from fedops.server.access.token_cache import TokenCache
from fedops.server.services.services import Services

COOKIE = "fedops_session"


async def session_principal(tokens: TokenCache, secret: str | None) -> Principal | None:
    """Whose session a cookie is, as long as it is one."""
    if not secret:
        return None
    try:
        found = await tokens.speaks_for(secret)
    except FedOpsError:
        return None
    return found if found.kind is TokenKind.SESSION else None


def cookie_of(headers: Headers) -> str | None:
    """The session's secret that a browser sends."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def is_same_origin(headers: Headers, public_url: str) -> bool:
    """Whether a page of this server sent it, as a browser says. Who says nothing is no other's page."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return True
    ours = {headers.get("host", "").lower(), urlsplit(public_url).netloc.lower()}
    return urlsplit(origin).netloc.lower() in ours


def require_own_page(headers: Headers, public_url: str) -> None:
    """``Forbidden`` when another site's page sent it."""
    if not is_same_origin(headers, public_url):
        raise Forbidden("another site's page sent this: do it on a page of this server")


async def require_leave(
    services: Services,
    who: Principal,
    rule: Rule,
    path: Mapping[str, str],
    query: Mapping[str, str],
) -> None:
    """``Forbidden`` or ``NotFound`` unless this user may open what has this rule, of these names."""
    require_allowed(who, rule)
    if who.tasks is None:
        return

    def look() -> None:
        asked = {name: [value] for name, value in query.items()}
        with services.db.read() as session:
            require_theirs(session, who, rule.of, path, asked)

    await asyncio.to_thread(look)
