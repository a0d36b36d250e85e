"""The Server Manager as one app: its routes, and what begins and ends with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from fedops.core.contracts import Health
from fedops.core.errors import FedOpsError, NotFound
from fedops.server.access.admin_token import first_sign_in_code
from fedops.server.access.permissions import PREFIX
from fedops.server.api.http import error_responses, protocol_check, reference_page
from fedops.server.api.http.authentication import ERRORS
from fedops.server.api.http.counted import Counted
from fedops.server.api.http.front_door import FrontDoor
from fedops.server.api.http.plain_door import OnlyBelow, PlainDoor
from fedops.server.api.routes import (
    administration,
    benches,
    client_manager,
    contributions,
    explanations,
    metrics,
    oneself,
    round_engine,
    runs,
    studies,
    tasks,
    users,
    work,
)
from fedops.server.api.routes import devices as device_routes
from fedops.server.api.routes import models as model_routes
from fedops.server.api.routes.delivery import packages, rollouts, schedules, sources, upgrades
from fedops.server.api.routes.notifications import channels as notification_channels
from fedops.server.assembly import ServerManager, assemble_manager
from fedops.server.blob_app.app import MOUNT
from fedops.server.dashboard.mounting import EVERYTHING, mount
from fedops.server.devices.joining import tls_upgrade
from fedops.server.edge.gate import Gate
from fedops.server.edge.guarded import guarded
from fedops.server.jobs.engine_process import EngineProcesses
from fedops.server.services.health import health_of
from fedops.server.services.services import Services
from fedops.server.tls.endpoint import ca_pem
from fedops.settings import ServerSettings

logger = logging.getLogger("fedops.server")

_ANYTHING = "/api/{path:path}"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def create_app(
    settings: ServerSettings,
    engines: EngineProcesses,
    *,
    clock: Callable[[], float] = time.time,
    workers: bool = True,
    dashboard: bool = False,
) -> FastAPI:
    """The Server Manager's app. ``workers``: whether scheduler and maintenance run with it."""
    manager = assemble_manager(settings, engines, clock, alone=not workers)
    app = FastAPI(
        title="FedOps Server Manager",
        version="v1",
        docs_url=None,
        redoc_url=None,
        openapi_url=reference_page.OPENAPI_URL,
        lifespan=_lifespan(manager, workers),
    )
    app.state.services, app.state.manager = manager.services, manager
    error_responses.install(app)
    _add_routes(app)
    if dashboard:
        app.state.pages = mount(app, manager.services)
    return app


def open_app(settings: ServerSettings, engines: EngineProcesses) -> FastAPI:
    """The app, with everything done that can fail for a reason the user can act on.

    Its state says what opens the pages once, at the first start of all: ``first_code``; "" at any other.
    """
    app = create_app(settings, engines, dashboard=True)
    manager: ServerManager = app.state.manager
    try:
        is_new = manager.open()
        services, file = manager.services, settings.admin_token_file
        code = first_sign_in_code(services.db, file, services.clock()) if is_new else ""
    except FedOpsError:
        manager.services.db.close()
        raise
    app.state.first_code = code
    return app


def _lifespan(
    manager: ServerManager, workers: bool
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(manager.open)
        manager.services.writer.start()
        if workers:
            await asyncio.to_thread(manager.start)
        try:
            yield
        finally:
            if (pages := getattr(app.state, "pages", None)) is not None:
                pages.close()
            await manager.close()

    return lifespan


def front(app: FastAPI) -> Gate:
    """What a web server serves: the gate, what devices call all the time, and the app."""
    manager: ServerManager = app.state.manager
    services = manager.services
    door = FrontDoor({work.MOUNT: work.WorkApp(services), MOUNT: manager.blobs}, app)
    counted = Counted(door, services.measures)
    return guarded(counted, services.token_cache, services.settings, services.sign_in.token_refused)


def front_of_plain_http(app: FastAPI, gate: Gate) -> PlainDoor:
    """What who speaks plain HTTP gets on a port that has TLS."""
    services: Services = app.state.manager.services
    with services.db.read() as session:
        until = tls_upgrade.open_window(session, services.settings, services.clock())
    if until > services.clock():
        logger.warning(
            "devices that joined without TLS are answered without it until %s", time.ctime(until)
        )
    return PlainDoor(
        gate,
        always=(f"{PREFIX}/tls-upgrade",),
        devices=(work.MOUNT, MOUNT, f"{PREFIX}/devices/me"),
        until=until,
        clock=services.clock,
    )


def front_of_engines(gate: Gate) -> OnlyBelow:
    """What FL servers call: their own routes, and files."""
    return OnlyBelow(gate, f"{PREFIX}/engine", MOUNT)


def _add_routes(app: FastAPI) -> None:
    """The routers' own routes, which lack nothing: included ones are made anew at the first request."""
    for router in (
        administration.router,
        oneself.signing_in,
        oneself.router,
        users.router,
        notification_channels.router,
        packages.router,
        client_manager.router,  # before the operators' devices: "me" is no device's name
        upgrades.router,  # nor is "upgrade"
        device_routes.joining,
        device_routes.router,
        tasks.router,
        sources.router,
        sources.hooked,
        model_routes.router,
        runs.router,
        schedules.router,
        studies.router,
        explanations.router,
        benches.router,
        contributions.router,
        rollouts.router,
        round_engine.router,
        protocol_check.retired,
        _plain,
        metrics.router,
        packages.index,
        reference_page.router,
    ):
        app.router.routes.extend(router.routes)
    # The pages answer every path that is nobody else's; below /api that would mislead.
    app.add_api_route(_ANYTHING, _nothing_here, methods=list(_METHODS), include_in_schema=False)


_plain = APIRouter(tags=["server"])


@_plain.get("/health", response_model_exclude_unset=True, responses=ERRORS)
def health(request: Request) -> Health:
    """Whether the server and its database answer, and what they lack. Needs no token."""
    services: Services = request.app.state.services
    return health_of(services.db, services.settings.home)


_PEM = "application/x-pem-file"


@_plain.get("/ca.pem", response_class=Response, responses={**ERRORS, 200: {"content": {_PEM: {}}}})
def authorities(request: Request) -> Response:
    """The certificate authorities of this server, for devices to compare and to keep. Needs no token."""
    pem = ca_pem(request.app.state.services.settings)
    if pem is None:
        raise NotFound(
            "this server names no certificate authority: use its https:// URL without a fingerprint"
        )
    return Response(pem, media_type=_PEM)


async def _nothing_here(request: Request) -> None:
    routes = request.app.router.routes
    allowed = [method for method in _METHODS if _takes(routes, request.scope, method)]
    if allowed:
        text = f"{request.url.path} takes {', '.join(allowed)}, not {request.method}"
        raise HTTPException(405, text, headers={"allow": ", ".join(allowed)})
    raise NotFound(f"there is nothing at {request.url.path}; see /api/docs")


def _takes(routes: list[BaseRoute], scope: Scope, method: str) -> bool:
    asked = {**scope, "method": method}
    # Neither this very answer nor that of the pages, which take whatever is left, is meant.
    return any(
        route.matches(asked)[0] is Match.FULL
        for route in routes
        if getattr(route, "path", None) not in (_ANYTHING, EVERYTHING)
    )
