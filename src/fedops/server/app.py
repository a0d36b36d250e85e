"""The Server Manager put together: one app from settings and what starts FL servers."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from fedops.api_client import PREFIX
from fedops.core.errors import NotFound
from fedops.server.access.admin_token import ensure_admin_token
from fedops.server.access.token_cache import TokenCache
from fedops.server.api.http import error_responses, protocol_check, reference_page
from fedops.server.api.http.front_door import FrontDoor
from fedops.server.api.routes import (
    administration,
    client_manager,
    explanations,
    round_engine,
    runs,
    tasks,
    work,
)
from fedops.server.api.routes import devices as device_routes
from fedops.server.api.routes import models as model_routes
from fedops.server.assignments import open_work
from fedops.server.blob_app.admission import Admission
from fedops.server.blob_app.app import MOUNT, BlobApp
from fedops.server.dashboard.queries import DashboardSource
from fedops.server.database.blob_stores import files_of, open_blobs
from fedops.server.database.database import Database
from fedops.server.database.writer import Writer
from fedops.server.devices.cloned_devices import ClonedDevices
from fedops.server.devices.desired_state import WantedStates
from fedops.server.devices.recent_calls import RecentCalls
from fedops.server.events.notifications import WorkOver
from fedops.server.jobs.dispatcher import Dispatcher
from fedops.server.jobs.engine_process import EngineProcesses
from fedops.server.jobs.leadership import Alone, Leadership
from fedops.server.jobs.maintenance import Maintenance
from fedops.server.jobs.scheduler import Scheduler
from fedops.server.peers.clock import DatabaseClock
from fedops.server.peers.lease import Lease
from fedops.server.peers.memory import PeerMemory
from fedops.server.rounds.attempt_inbox import AttemptInboxes
from fedops.server.rounds.blob_access import WorkBlobAccess
from fedops.server.rounds.engine_liveness import EngineLiveness
from fedops.server.rounds.instructions import Instructions
from fedops.server.rounds.other_managers import Nobody, Others
from fedops.server.rounds.work_hub import WorkHub
from fedops.server.services.services import Services
from fedops.settings import ServerSettings

if TYPE_CHECKING:
    from fedops.server.peers.company import Company

logger = logging.getLogger("fedops.server")
#: How long a worker may take to end. Seconds.
JOIN_SECONDS = 10.0
_ANYTHING = "/api/{path:path}"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True)
class ServerManager:
    """The parts that live as long as the server."""

    services: Services
    blobs: BlobApp
    scheduler: Scheduler
    maintenance: Maintenance
    #: None: no other Server Manager may serve the same database.
    company: Company | None = None

    def open(self) -> None:
        """Make the home folder, the database and the admin token ready."""
        services = self.services
        services.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        services.db.migrate()
        services.artifacts.clean()
        if self.company:
            self.company.greet()
        self._remember()
        ensure_admin_token(services.db, services.settings.admin_token_file, services.clock())

    def _remember(self) -> None:
        """What is kept in memory, as the database has it."""
        services = self.services
        with services.db.write() as session:
            if (
                not services.leadership.shared
            ):  # else others may have heard the devices all the time
                services.presence.load(session, services.clock())
                services.presence.flush(session, services.presence.take(services.clock()))
            found = open_work.open_rows(session)
            known = [(open_work.work_of(row), open_work.seen_of(row)) for row in found]
            ended = [
                (open_work.work_of(row), WorkOver(row.id, row.device_id, row.reason))
                for row in open_work.unreleased(session)
            ]
        services.hub.load(known, ended)

    def start(self) -> None:
        """Begin to hear, then to act."""
        if self.company:
            self.company.start()
        self.scheduler.worker.start()
        self.maintenance.worker.start()

    async def close(self) -> None:
        """End everything that was started, the waiting first."""
        self.services.let_go()
        for worker in (self.scheduler.worker, self.maintenance.worker):
            worker.end()
        await asyncio.to_thread(self._close_blocking)

    def _close_blocking(self) -> None:
        self.scheduler.worker.join(JOIN_SECONDS)
        self.maintenance.worker.join(JOIN_SECONDS)
        self.services.engines.close()
        if self.company:
            self.company.close(JOIN_SECONDS)
        self.blobs.close()
        self.services.writer.close()
        self.services.db.close()


def assemble(
    settings: ServerSettings,
    engines: EngineProcesses,
    clock: Callable[[], float] = time.time,
    *,
    alone: bool = False,
) -> ServerManager:
    """Connect the parts; nothing is started or written yet. ``alone``: no other server has the database."""
    db, artifacts, pulse = Database(settings.database), open_blobs(settings), EngineLiveness()
    shared = not (alone or db.is_sqlite)
    there, lease = DatabaseClock(), Lease(uuid.uuid4().hex)
    leadership: Leadership = lease if shared else Alone()
    twins = ClonedDevices(there if shared else time.monotonic)
    clock = there if shared else clock
    scheduler = Scheduler(
        db, engines, artifacts, settings, pulse, clock=clock, leadership=leadership
    )
    lease.changed = scheduler.worker.wake
    hub, inboxes = WorkHub(clock=clock, shared=shared), AttemptInboxes()
    presence = RecentCalls(settings.heartbeat_seconds, shared=shared)
    tokens, writer, instructions = TokenCache(db, clock), Writer(db), Instructions(db)
    company = _company(settings, db, lease, there, hub, inboxes, twins) if shared else None
    others: Others = company or Nobody()
    access = WorkBlobAccess(
        db, writer, tokens, hub, instructions, presence, clock, settings.max_update_bytes, others
    )
    slots = Admission(settings.upload_slots)
    blobs = BlobApp(access, artifacts, slots, accel_prefix=settings.accel_prefix)
    db.listener = Dispatcher(hub, inboxes, presence, tokens, blobs.forget, scheduler.worker.wake)
    services = Services(
        settings=settings,
        db=db,
        writer=writer,
        artifacts=artifacts,
        engines=engines,
        pulse=pulse,
        twins=twins,
        clock=clock,
        token_cache=tokens,
        presence=presence,
        hub=hub,
        inboxes=inboxes,
        instructions=instructions,
        wanted=WantedStates(db),
        slots=blobs.admission,
        others=others,
        leadership=leadership,
    )
    maintenance = Maintenance(
        db, settings, artifacts, presence, hub, clock=clock, leadership=leadership
    )
    return ServerManager(services, blobs, scheduler, maintenance, company)


def _company(
    settings: ServerSettings,
    db: Database,
    lease: Lease,
    there: DatabaseClock,
    hub: WorkHub,
    inboxes: AttemptInboxes,
    twins: ClonedDevices,
) -> Company:
    from fedops.server.peers.company import Company  # needs PostgreSQL's driver

    memory = PeerMemory(db, hub, inboxes, twins, there)
    return Company(db, lease, there, memory, hub, partial(files_of, settings))


def create_app(
    settings: ServerSettings,
    engines: EngineProcesses,
    *,
    clock: Callable[[], float] = time.time,
    workers: bool = True,
    dashboard: bool = False,
) -> FastAPI:
    """The Server Manager's app. ``workers``: whether scheduler and maintenance run with it."""
    manager = assemble(settings, engines, clock, alone=not workers)
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
        _add_dashboard(app, manager.services)
    return app


def _lifespan(
    manager: ServerManager, workers: bool
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(manager.open)
        manager.services.writer.start()
        if workers:
            await asyncio.to_thread(manager.start)
        try:
            yield
        finally:
            await manager.close()

    return lifespan


def front(app: FastAPI) -> FrontDoor:
    """What a web server serves: the app, and before it what devices call all the time."""
    manager: ServerManager = app.state.manager
    return FrontDoor({work.MOUNT: work.WorkApp(manager.services), MOUNT: manager.blobs}, app)


def _add_routes(app: FastAPI) -> None:
    for router in (
        administration.router,
        client_manager.router,  # before the operators' devices: "me" is no device's name
        device_routes.joining,
        device_routes.router,
        tasks.router,
        model_routes.router,
        runs.router,
        explanations.router,
        round_engine.router,
    ):
        app.include_router(router, prefix=PREFIX)
    app.include_router(protocol_check.retired)
    app.include_router(_plain)
    app.include_router(reference_page.router)
    # The dashboard answers every path that is nobody else's; below /api that would mislead.
    app.add_api_route(_ANYTHING, _nothing_here, methods=list(_METHODS), include_in_schema=False)


_plain = APIRouter(tags=["server"])


@_plain.get("/health")
def health(request: Request) -> dict[str, str]:
    """Whether the server and its database answer. Needs no token."""
    with request.app.state.services.db.read() as session:
        session.connection()
    return {"status": "ok"}


async def _nothing_here(request: Request) -> None:
    routes = request.app.router.routes
    allowed = [method for method in _METHODS if _takes(routes, request.scope, method)]
    if allowed:
        text = f"{request.url.path} takes {', '.join(allowed)}, not {request.method}"
        raise HTTPException(405, text, headers={"allow": ", ".join(allowed)})
    raise NotFound(f"there is nothing at {request.url.path}; see /api/docs")


def _takes(routes: list[BaseRoute], scope: Scope, method: str) -> bool:
    asked = {**scope, "method": method}
    # Neither this very answer nor the dashboard, which takes whatever is left, is meant.
    return any(
        route.matches(asked)[0] is Match.FULL
        for route in routes
        if getattr(route, "path", None) not in (_ANYTHING, "")
    )


def _add_dashboard(app: FastAPI, services: Services) -> None:
    from fedops.server.dashboard.overview_page import mount  # slow to import, and not always wanted

    mount(app, DashboardSource(services))
