"""The page on which one signs in: two plain forms, and back to where one was."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from fedops.core.contracts import NAME_PATTERN
from fedops.core.errors import FedOpsError, Forbidden
from fedops.server.access.sign_in import SESSION_SECONDS, session_by_password, sign_out
from fedops.server.dashboard.web import answers
from fedops.server.dashboard.web.answers import SIGN_IN, own_path
from fedops.server.dashboard.web.forms import LARGEST_OF_STRANGERS, fields_of
from fedops.server.dashboard.web.sessions import COOKIE, require_own_page, session_principal
from fedops.server.events.acting import Person, acting_as
from fedops.server.protocol.addresses import plain_address
from fedops.server.protocol.error_replies import HEADERS
from fedops.server.services.services import Services

router = APIRouter(include_in_schema=False)
_LONGEST = 200


@router.get(SIGN_IN)
async def show(request: Request) -> Response:
    """The form."""
    return _page(request)


@router.post(SIGN_IN)
async def enter(request: Request) -> Response:
    """Sign in with name and password, a personal token, or a one-time code."""
    services: Services = request.app.state.services
    fields: dict[str, str] = {}
    try:
        require_own_page(request.headers, services.settings.url)
        sent = await fields_of(request, LARGEST_OF_STRANGERS)
        fields = {name: values[-1][:2_000] for name, values in sent.items()}
        secret = await _session(request, services, fields)
    except FedOpsError as error:
        return _page(request, error, fields)
    answer = RedirectResponse(own_path(fields.get("next", "/")), status_code=303)
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


async def _session(request: Request, services: Services, fields: dict[str, str]) -> str:
    """The secret of a new session."""
    address = plain_address(request.client.host if request.client else None)
    given = fields.get("secret", "")[:_LONGEST]
    if given:
        made = await services.sign_in.by_secret(given, address)
    else:
        name = fields.get("user", "")
        made = await services.sign_in.by_password(
            name if re.fullmatch(NAME_PATTERN, name) else "",
            fields.get("password", "")[:_LONGEST],
            address,
            session_by_password(address),
        )
    return made.token or ""


@router.post("/sign-out")
async def leave(request: Request) -> Response:
    """Sign out. Whoever is not signed in is sent to the form, too."""
    services: Services = request.app.state.services
    try:
        require_own_page(request.headers, services.settings.url)
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


def _page(
    request: Request, error: FedOpsError | None = None, fields: dict[str, str] | None = None
) -> Response:
    services: Services = request.app.state.services
    fields = fields or {}
    answer = answers.page(
        request,
        services,
        None,
        "sign_in.html",
        error.http_status if error else 200,
        title="Sign in",
        problem=error.message if error else "",
        typed_user="".join(filter(str.isprintable, fields.get("user", "")))[:63],
        next=own_path(fields.get("next", request.query_params.get("next", "/"))),
    )
    if error is not None and error.http_status != 401:
        answer.headers.update(HEADERS.get(error.http_status, {}))
    return answer
