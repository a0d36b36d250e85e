"""Answers to a browser: whole pages, errors as pages, and the way to another page."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fedops.console.federation import INSECURE
from fedops.core.errors import FedOpsError
from fedops.server.access.permissions import ROUTES
from fedops.server.access.principal import Principal
from fedops.server.dashboard.web.templates import render
from fedops.server.protocol.error_replies import headers_of
from fedops.server.services.services import Services

SIGN_IN = "/sign-in"
#: What the last form did, told on the next page; and light or dark.
SAID, THEME = "fedops_said", "fedops_theme"
THEMES = ("light", "dark")
_SAID_SECONDS = 20
#: The header by which a script says that it shows a form in a dialog, and hears where to go on.
DIALOG = "x-fedops-dialog"
#: The navigation: the key of a section, its word, its page.
NAVIGATION = tuple(
    (key, word, where)
    for key, word, where in (
        ("overview", "Overview", "/"),
        ("tasks", "Tasks", "/tasks"),
        ("runs", "Runs", "/runs"),
        ("devices", "Devices", "/devices"),
        ("models", "Models", "/models"),
        ("delivery", "Delivery", "/delivery"),
        ("more", "More", "/more"),
    )
    if f"GET {where}" in ROUTES
)
_HEADERS = {"cache-control": "no-store"}


def page(
    request: Request,
    services: Services,
    who: Principal | None,
    template: str,
    status: int = 200,
    **data: Any,
) -> HTMLResponse:
    """A whole page: a template that extends ``base.html``. ``who`` None: nobody is signed in."""
    theme = request.cookies.get(THEME, "")
    said = _unquoted(request.cookies.get(SAID, ""))
    around = {
        "user": who.user if who else None,
        "role": who.roles[0].value if who else "",
        "theme": theme if theme in THEMES else "",
        "insecure": INSECURE if services.settings.is_insecure else "",
        "said": said,
        "now": services.clock(),
        "here": here(request),
        "section": "",
        "nav": NAVIGATION,
        "live": False,
    }
    answer = HTMLResponse(render(template, **{**around, **data}), status, _HEADERS)
    if said:
        answer.delete_cookie(SAID)
    return answer


def here(request: Request) -> str:
    """The path and query of what was asked for."""
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def error_page(
    request: Request, services: Services, who: Principal | None, error: FedOpsError
) -> HTMLResponse:
    """What is wrong, where, and where to go on."""
    status = error.http_status
    title = HTTPStatus(status).phrase.lower()
    answer = page(request, services, who, "error.html", status, title=title, error=error.message)
    answer.headers.update(headers_of(error) or {})
    return answer


def to_sign_in(request: Request) -> Response:
    """To the form, and from there back."""
    back = here(request) if request.method in ("GET", "HEAD") else _referring(request)
    where = "" if back in ("", "/") else f"?next={quote(back, safe='/')}"
    return RedirectResponse(SIGN_IN + where, status_code=303)


def _referring(request: Request) -> str:
    """The page of ours that a form is on."""
    base = f"{request.url.scheme}://{request.url.netloc}"
    referrer = request.headers.get("referer", "")
    return referrer[len(base) :] if referrer.startswith(f"{base}/") else ""


def go(request: Request, where: str, said: str = "") -> Response:
    """On to a page of ours, which tells what was done. A script that asks in a dialog goes there itself."""
    answer: Response = RedirectResponse(where, status_code=303)
    if DIALOG in request.headers:
        answer = Response(status_code=204, headers={DIALOG: where})
    if said:
        answer.set_cookie(
            SAID, quote(said[:500]), max_age=_SAID_SECONDS, httponly=True, samesite="strict"
        )
    return answer


def own_path(text: str) -> str:
    """A path of ours that an address named; ``/`` for anything else."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if plain and len(text) <= 2_000 else "/"


def _unquoted(text: str) -> str:
    return unquote(text)[:500]
