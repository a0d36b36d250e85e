"""App bundles and tasks, and the global models that tasks have."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from fedops.core.contracts import (
    ArtifactRef,
    ModelVersionRead,
    TaskCreate,
    TaskRead,
    TaskUpdate,
)
from fedops.server import bundles, models, tasks
from fedops.server.api import transfer
from fedops.server.api.access import ADMIN, ERRORS, Named, Server
from fedops.server.api.routing import StrictRoute
from fedops.server.services import Services

router = APIRouter(tags=["tasks"], dependencies=[ADMIN], route_class=StrictRoute, responses=ERRORS)
Version = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,63}$")]


@router.put("/bundles")
async def upload_bundle(request: Request, server: Server) -> ArtifactRef:
    """Upload an app as a zip. The answer's ``sha256`` is what tasks name it by."""
    ref = await transfer.receive(request, server.artifacts, server.settings.max_bundle_bytes)
    return await run_in_threadpool(_register_bundle, server, ref)


def _register_bundle(server: Services, ref: ArtifactRef) -> ArtifactRef:
    with server.db.write() as session:
        bundles.register(session, ref, server.artifacts, server.clock())
    return ref


@router.post("/tasks", status_code=201)
def create_task(body: TaskCreate, server: Server) -> TaskRead:
    """Make a task from an uploaded app."""
    with server.db.write() as session:
        opened = bundles.config_from(server.artifacts)
        return tasks.create(session, body, opened, server.clock())


@router.get("/tasks")
def list_tasks(server: Server) -> list[TaskRead]:
    """All tasks, by name."""
    with server.db.read() as session:
        return tasks.listed(session)


@router.get("/tasks/{task}")
def get_task(task: Named, server: Server) -> TaskRead:
    """One task."""
    with server.db.read() as session:
        return tasks.get(session, task)


@router.patch("/tasks/{task}")
def update_task(task: Named, body: TaskUpdate, server: Server) -> TaskRead:
    """Change the app, the overrides or the description, for runs to come."""
    with server.db.write() as session:
        opened = bundles.config_from(server.artifacts)
        return tasks.update(session, task, body, opened, server.clock())


@router.post("/tasks/{task}/archive")
def archive_task(task: Named, server: Server) -> TaskRead:
    """Put a task away. Its runs and models stay."""
    with server.db.write() as session:
        return tasks.archive(session, task, server.clock())


@router.get("/tasks/{task}/models")
def list_models(task: Named, server: Server) -> list[ModelVersionRead]:
    """The task's global model versions, oldest first."""
    with server.db.read() as session:
        return models.listed(session, task)


@router.get("/tasks/{task}/models/{version}")
def get_model(task: Named, version: Version, server: Server) -> ModelVersionRead:
    """One version: a number, ``V3``, or an alias such as ``latest``."""
    with server.db.read() as session:
        return models.get(session, task, version)


@router.get("/tasks/{task}/models/{version}/file", response_class=FileResponse)
def download_model(task: Named, version: Version, server: Server) -> FileResponse:
    """The model itself, as safetensors."""
    with server.db.read() as session:
        found = models.get(session, task, version)
    name = f"{task}-V{found.version}.safetensors"
    return transfer.send(server.artifacts, found.sha256, name)
