"""Pages and forms as a browser asks for them: who it is, whether they may, and the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from fedops.core.errors import FedOpsError, Invalid, NotFound
from fedops.processes.log_context import chosen
from fedops.server.access import permissions
from fedops.server.access.principal import Principal
from fedops.server.dashboard.live.page import Drawn, Page, draw
from fedops.server.dashboard.web import answers
from fedops.server.dashboard.web.forms import Done, Form, Shown, Submission, fields_of
from fedops.server.dashboard.web.mistakes import sentences
from fedops.server.dashboard.web.paths import require_sound
from fedops.server.dashboard.web.resources import Resource
from fedops.server.dashboard.web.sessions import (
    COOKIE,
    require_leave,
    require_own_page,
    session_principal,
)
from fedops.server.dashboard.web.uploads import form_with_file
from fedops.server.dashboard.web.view import View
from fedops.server.events.acting import Person, acting_as
from fedops.server.events.news import newest_event
from fedops.server.protocol.addresses import plain_address
from fedops.server.protocol.error_replies import INTERNAL, as_shortage, log_trouble
from fedops.server.services.services import Services

logger = logging.getLogger("fedops.server")

Endpoint = Callable[[Request], Awaitable[Response]]
_Admitted = Callable[[Request, Services, Principal], Awaitable[Response]]


def page_endpoint(page: Page) -> Endpoint:
    """What answers ``GET`` of a page."""

    async def show(request: Request, services: Services, who: Principal) -> Response:
        data = await asyncio.to_thread(_page_data, page, services, who, request)
        return answers.page(request, services, who, page.template, **data)

    return _for_users(f"GET {page.path}", show)


def form_endpoints(form: Form) -> tuple[Endpoint, Endpoint]:
    """What answers ``GET`` and ``POST`` of a form."""

    async def show(request: Request, services: Services, who: Principal) -> Response:
        return await _form_page(form, request, services, who)

    async def take(request: Request, services: Services, who: Principal) -> Response:
        require_own_page(request.headers, services.settings.url)
        try:
            sent = await _sent(form, request, services, who)
        except FedOpsError as error:
            if not form.takes_file:
                raise
            return await _form_page(form, request, services, who, error)
        try:
            with acting_as(Person(who.user, who.token_id, address_of(request))):
                outcome = await _submitted(form, sent)
        except FedOpsError as error:
            log_trouble(error)
            return await _form_page(form, request, services, who, error, sent.fields)
        finally:
            if sent.file is not None:
                await sent.file.close()
        if isinstance(outcome, Done):
            return answers.go(request, outcome.where, outcome.said)
        return answers.page(
            request, services, who, outcome.template, section=form.section, **outcome.data
        )

    return _for_users(f"GET {form.path}", show), _for_users(f"POST {form.path}", take)


async def _sent(form: Form, request: Request, services: Services, who: Principal) -> Submission:
    """What was typed, and the file of a form that takes one."""
    if not form.takes_file:
        return Submission(services, who, request.path_params, await fields_of(request))
    fields, file = await form_with_file(request, services.settings.max_bundle_bytes)
    return Submission(services, who, request.path_params, fields, file)


async def _submitted(form: Form, sent: Submission) -> Done | Shown:
    """What a form did. ``Invalid`` says which of its values cannot be what they are to be."""
    try:
        return await form.submit(sent)
    except ValidationError as error:
        raise Invalid(sentences(error.errors(include_url=False))) from None


def resource_endpoint(resource: Resource) -> Endpoint:
    """What answers ``GET`` of a resource."""
    return _for_users(f"GET {resource.path}", resource.answer)


async def nothing_here(request: Request, services: Services, who: Principal) -> Response:
    """Every other path."""
    raise NotFound(f"there is no page at {request.url.path}")


def otherwise() -> Endpoint:
    """What answers for every path that is no page's, once somebody is signed in."""
    return _for_users("GET /", nothing_here)


def address_of(request: Request) -> str | None:
    """Where a request comes from."""
    return plain_address(request.client.host if request.client else None)


def _for_users(route: str, answer: _Admitted) -> Endpoint:
    """An endpoint for signed-in users whom the table of permissions lets in. Its errors are pages."""
    rule = permissions.rule_of(*route.split(" "))

    async def endpoint(request: Request) -> Response:
        services: Services = request.app.state.services
        who = await session_principal(services.token_cache, request.cookies.get(COOKIE))
        if who is None:
            return answers.to_sign_in(request)
        try:
            if "path" not in request.path_params:  # else it is no page's
                require_sound(request.path_params)
            asked = request.path_params, request.query_params
            await require_leave(services, who, rule, *asked)
            return await answer(request, services, who)
        except FedOpsError as error:
            log_trouble(error)
            return answers.error_page(request, services, who, error)
        except Exception as error:
            known = as_shortage(error) or _bug(request, error)
            return answers.error_page(request, services, who, known)

    return endpoint


def _bug(request: Request, error: Exception) -> FedOpsError:
    """What is said of a fault of ours: the log has the rest."""
    about = chosen(request.path_params)
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error, extra=about)
    return FedOpsError(INTERNAL.message)


def _page_data(
    page: Page, services: Services, who: Principal, request: Request
) -> Mapping[str, Any]:
    """What the page around the panels is told, and the panels."""
    with services.db.read() as session:
        view = View(
            services, session, who, request.path_params, request.query_params, services.clock()
        )
        seq = newest_event(session)  # before the data: what comes later is told again
        drawn = draw_all(page, view)
        return {
            **page.around(view),
            "view": view,
            "section": page.section,
            "title": page.title(view),
            "panels": drawn,
            "seq": seq,
            "live": True,
        }


def draw_all(page: Page, view: View) -> dict[str, Drawn]:
    """All panels of a page."""
    return {panel.name: draw(panel, view) for panel in page.panels(view)}


async def _form_page(
    form: Form,
    request: Request,
    services: Services,
    who: Principal,
    error: FedOpsError | None = None,
    typed: Mapping[str, Sequence[str]] | None = None,
) -> Response:
    """A form, empty or with what was typed and what is wrong with it."""

    def read() -> Mapping[str, Any]:
        with services.db.read() as session:
            view = View(
                services, session, who, request.path_params, request.query_params, services.clock()
            )
            return {**form.show(view), "view": view, "title": form.title(view)}

    data = await asyncio.to_thread(read)
    given = {name: values[-1] for name, values in (typed or {}).items()}
    problem, status = (error.message, error.http_status) if error else ("", 200)
    return answers.page(
        request,
        services,
        who,
        form.template,
        status,
        section=form.section,
        problem=problem,
        typed=given,
        typed_lists=typed or {},
        **data,
    )
