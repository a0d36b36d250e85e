"""Packages of commits for devices, and the index from which a new device installs FedOps."""

from __future__ import annotations

import html
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from packaging.utils import canonicalize_name

from fedops.core.contracts import Packages
from fedops.core.errors import Invalid, NotFound
from fedops.environments.platform_names import platform_name
from fedops.environments.user_agents import platform_of_agent
from fedops.server.api.http.authentication import ERRORS, DeviceId, Named, Server
from fedops.server.api.http.protocol_check import PROTOCOL_CHECKED
from fedops.server.api.http.routers import api_router
from fedops.server.delivery.packages import commit_packages
from fedops.server.delivery.packages.commit_packages import Key
from fedops.server.delivery.packages.wheel_index import IndexedWheel, WheelIndex
from fedops.server.services.services import Services

router = api_router("device", PROTOCOL_CHECKED, prefix="/devices/me")
index = APIRouter(prefix="/simple", tags=["index"], responses=ERRORS)
#: Who asks before all is there waits, for less time than proxies allow. pip comes again after a 503. Seconds.
WAIT_SECONDS = 45.0
_COMMIT = r"^([0-9a-f]{40}|[0-9a-f]{64})$"
_PLATFORM = r"^3\.\d{1,2}/[a-z0-9_]+-[a-z0-9_.]+$"
_FEDOPS = "fedops"
_JSON = "application/vnd.pypi.simple.v1+json"


@router.get("/tasks/{task}/packages")
def task_packages(
    task: Named,
    commit: Annotated[str, Query(pattern=_COMMIT)],
    platform: Annotated[str, Query(pattern=_PLATFORM, max_length=80)],
    device_id: DeviceId,
    server: Server,
) -> Packages:
    """The wheels of a commit's environment on a platform. Asking has them prepared: ask again."""
    with server.db.read() as session:
        commit_packages.require_member(session, device_id, task)
        known = commit_packages.find_packages(session, Key(task, commit, platform))
    if known is not None:
        return known
    with server.db.write() as session:
        found = commit_packages.packages_of(session, task, commit, platform, server.clock())
    server.packages.asked()
    return found


# --- the index -------------------------------------------------------------------------------


@index.get("/", response_class=Response)
def projects(request: Request) -> Response:
    """The packages that a device on the caller's platform installs. Needs no token."""
    found = _index(request).prepared(_platform(request))
    names = sorted({_FEDOPS, *(wheel.project for wheel in found)})
    if _takes_json(request):
        body = {"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]}
        return JSONResponse(body, media_type=_JSON)
    return _page("Packages", [f'<a href="{name}/">{name}</a>' for name in names])


@index.get("/{project}/", response_class=Response)
def project_files(
    project: Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,128}$")], request: Request
) -> Response:
    """The wheel of a package for the caller's platform, with its sha256. Needs no token."""
    name = canonicalize_name(project)
    index_, platform = _index(request), _platform(request)
    # Who installs begins with FedOps: only then something is prepared, whatever a stranger asks for.
    there = index_.wheels(platform, WAIT_SECONDS) if name == _FEDOPS else index_.prepared(platform)
    found = [wheel for wheel in there if wheel.project == name]
    if not found:
        raise NotFound(f"this server has FedOps and what it needs, and no package '{project}'")
    if _takes_json(request):
        files = [
            {
                "filename": one.name,
                "url": _url(one),
                "hashes": {"sha256": one.sha256},
                "size": one.size,
            }
            for one in found
        ]
        meta = {"meta": {"api-version": "1.0"}, "name": name}
        return JSONResponse({**meta, "files": files}, media_type=_JSON)
    return _page(
        name, [f'<a href="{_url(one)}#sha256={one.sha256}">{_shown(one)}</a>' for one in found]
    )


@index.get("/files/{sha256}/{filename}", response_class=FileResponse)
def wheel_file(
    sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")],
    filename: Annotated[str, Path(max_length=255)],
    request: Request,
) -> FileResponse:
    """A wheel. Needs no token."""
    return FileResponse(
        _index(request).file(sha256, filename), media_type="application/octet-stream"
    )


def _index(request: Request) -> WheelIndex:
    services: Services = request.app.state.services
    return services.index


def _platform(request: Request) -> str:
    """Of who asks, as pip and uv say it; else that of this server."""
    told = platform_of_agent(request.headers.get("user-agent", ""))
    return told or _here()


def _here() -> str:
    try:
        return platform_name()
    except Invalid:
        raise NotFound(
            "this server cannot tell which packages are for the caller's platform"
        ) from None


def _takes_json(request: Request) -> bool:
    return _JSON in request.headers.get("accept", "")


def _url(wheel: IndexedWheel) -> str:
    """As seen from the page of a project, wherever the server is mounted."""
    return f"../files/{wheel.sha256}/{quote(wheel.name)}"


def _shown(wheel: IndexedWheel) -> str:
    return html.escape(wheel.name)


def _page(title: str, links: list[str]) -> Response:
    lines = ["<!DOCTYPE html>", f"<html><head><title>{title}</title></head><body>"]
    return Response(
        "\n".join([*lines, *(f"{link}<br>" for link in links), "</body></html>"]),
        media_type="text/html",
    )
