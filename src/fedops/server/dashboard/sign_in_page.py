"""The page on which one signs in: a plain form, which needs nothing but itself."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from fedops.console.federation import INSECURE
from fedops.core.contracts import NAME_PATTERN
from fedops.core.errors import FedOpsError, Forbidden, Invalid
from fedops.server.access.sign_in import SESSION_SECONDS, session_by_password, sign_out
from fedops.server.dashboard.page_gate import (
    COOKIE,
    SIGN_IN,
    is_same_origin,
    session_principal,
)
from fedops.server.events.acting import Person, acting_as
from fedops.server.protocol.addresses import plain_address
from fedops.server.protocol.error_replies import HEADERS
from fedops.server.protocol.refusals import TooLarge
from fedops.server.services.services import Services

router = APIRouter(include_in_schema=False)
_STYLE = (Path(__file__).parent / "sign_in.css").read_text(encoding="utf-8")
#: Hands in the code behind '#', which a browser sends to nobody.
_SCRIPT = """\
function enter() {
  const code = location.hash.slice(1);
  if (!code) return;
  history.replaceState(null, "", location.pathname);
  document.querySelector("[name=secret]").value = code;
  document.querySelector("#with-secret").submit();
}
addEventListener("hashchange", enter);
enter();
"""
_LARGEST_FORM = 4_096
_PAGE = """\
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>FedOps: sign in</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<link rel="stylesheet" href="/sign-in/style.css"></head><body><main>
<h1>FedOps</h1>{insecure}<p class="problem" role="alert">{problem}</p>
<form method="post" action="/sign-in" autocomplete="on">
<label>Name <input name="user" autocomplete="username" required maxlength="63"></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required
maxlength="200"></label><button>Sign in</button></form>
<form method="post" action="/sign-in" id="with-secret">
<label>or a token, or the code of <code>fedops dashboard</code>
<input name="secret" type="password" autocomplete="off" required maxlength="200"></label>
<button>Sign in</button></form></main><script src="/sign-in/code.js"></script></body></html>
"""


@router.get("/sign-in")
async def show(request: Request) -> Response:
    """The form."""
    return _page(request)


@router.get("/sign-in/style.css")
async def style() -> Response:
    return Response(_STYLE, media_type="text/css")


@router.get("/sign-in/code.js")
async def script() -> Response:
    return Response(_SCRIPT, media_type="text/javascript")


@router.post("/sign-in")
async def enter(request: Request) -> Response:
    """Sign in with name and password, a personal token, or a one-time code."""
    services: Services = request.app.state.services
    try:
        secret = await _session(request, services)
    except FedOpsError as error:
        return _page(request, error)
    answer = RedirectResponse("/", status_code=303)
    secure = request.url.scheme == "https" or services.settings.url.startswith("https:")
    answer.set_cookie(
        COOKIE,
        secret,
        max_age=int(SESSION_SECONDS),
        httponly=True,
        samesite="strict",
        secure=secure,
    )
    return answer


async def _session(request: Request, services: Services) -> str:
    """The secret of a new session."""
    _require_own_page(request, services)
    form = await _form(request)
    address = plain_address(request.client.host if request.client else None)
    given = form.get("secret", "")
    if given:
        made = await services.sign_in.by_secret(given, address)
    else:
        name = form.get("user", "")
        made = await services.sign_in.by_password(
            name if re.fullmatch(NAME_PATTERN, name) else "",
            form.get("password", ""),
            address,
            session_by_password(address),
        )
    return made.token or ""


@router.post("/sign-out")
async def leave(request: Request) -> Response:
    """Sign out. Whoever is not signed in is sent to the form, too."""
    services: Services = request.app.state.services
    try:
        _require_own_page(request, services)
    except Forbidden as error:
        return _page(request, error)
    found = await session_principal(services.token_cache, request.cookies.get(COOKIE))
    if found is not None:
        address = plain_address(request.client.host if request.client else None)
        with acting_as(Person(found.user, found.token_id, address)):
            await services.change(lambda session: sign_out(session, found, services.clock()))
    answer = RedirectResponse(SIGN_IN, status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


def _require_own_page(request: Request, services: Services) -> None:
    if not is_same_origin(request.headers, services.settings.url):
        raise Forbidden("another site's page sent this: sign in on this page")


async def _form(request: Request) -> dict[str, str]:
    data = b""
    async for block in request.stream():
        data += block
        if len(data) > _LARGEST_FORM:
            raise TooLarge("this is no sign-in: it is too large")
    try:
        found = parse_qs(data.decode("ascii"), max_num_fields=8)
    except ValueError:
        raise Invalid("this is no sign-in") from None
    return {name: values[-1][:200] for name, values in found.items()}


def _page(request: Request, error: FedOpsError | None = None) -> HTMLResponse:
    services: Services = request.app.state.services
    insecure = f'<p class="problem">INSECURE: {escape(INSECURE)}</p>'
    banner = insecure if services.settings.is_insecure else ""
    headers = {"cache-control": "no-store", "referrer-policy": "same-origin"}
    if error is None:
        return HTMLResponse(_PAGE.format(problem="", insecure=banner), headers=headers)
    told = {} if error.http_status == 401 else HEADERS.get(error.http_status, {})
    text = _PAGE.format(problem=escape(error.message), insecure=banner)
    return HTMLResponse(text, error.http_status, headers | told)
