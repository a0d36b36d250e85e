"""The local API of a Client Manager: what it says of itself and of its server, what its owner may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import FastAPI

from fedops.api_client import without_credentials
from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import DeviceConfig
from fedops.client.local.http import make_app
from fedops.client.local.messages import (
    Approval,
    AwaitedCommit,
    ClientInfo,
    ClientStatus,
    ServerStatus,
    ServingOrder,
)
from fedops.client.manager.app_sources import AppSources
from fedops.client.work.reachability import Reach
from fedops.core.contracts import Work


@dataclass(frozen=True)
class LocalActions:
    """What is behind the local API."""

    status: Callable[[], ClientStatus]
    info: Callable[[], ClientInfo]
    apps: AppSources
    serving: Callable[[ServingOrder], None]
    stop: Callable[[], None]
    leave: Callable[[], None]
    restart: Callable[[], None]


def local_app(token: str, actions: LocalActions) -> FastAPI:
    """The local API, for whoever knows the token."""
    app = make_app("FedOps Client Manager", token)

    @app.get("/status")
    def status() -> ClientStatus:
        return actions.status()

    @app.get("/info")
    def info() -> ClientInfo:
        return actions.info()

    @app.get("/deployment")
    def deployment() -> AwaitedCommit:
        return actions.apps.awaited()

    @app.post("/deployment/approve", status_code=202)
    def approve(body: Approval) -> None:
        actions.apps.approve(body.commit)

    @app.post("/serving", status_code=202)
    def serving(body: ServingOrder) -> None:
        actions.serving(body)

    @app.post("/stop", status_code=202)
    def stop() -> None:
        actions.stop()

    @app.post("/leave", status_code=202)
    def leave() -> None:
        actions.leave()

    @app.post("/restart", status_code=202)
    def restart() -> None:
        actions.restart()

    return app


def server_status(url: str, proxy: str | None, reach: Reach, wanted: Work | None) -> ServerStatus:
    """Whether the server answers, and what it wanted last. ``wanted`` None: it has not answered yet."""
    return ServerStatus(
        url=url,
        proxy=without_credentials(proxy or ""),
        reachable=reach.reachable,
        seconds=round(reach.seconds, 1),
        problem=reach.problem,
        fedops=wanted.fedops if wanted else "",
        enrolment=wanted.enrolment if wanted else None,
        runs=wanted.runs if wanted else [],
        tasks=wanted.tasks if wanted else [],
        problems=wanted.problems if wanted else [],
    )


def client_info(
    device: str, home: DataDir, server: str, app: str | None, config: DeviceConfig
) -> ClientInfo:
    """Who it is, where its things are, and what its owner allows."""
    return ClientInfo(
        device=device,
        fedops=version("fedops"),
        home=str(home.path),
        server=server,
        app=app,
        limits=config.limits.model_dump(),
        uploads=config.uploads.model_dump(),
    )
