"""App bundles and tasks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from fastapi.concurrency import run_in_threadpool

from fedops.core.contracts import BlobRef, TaskCreate, TaskRead, TaskUpdate
from fedops.server.access.task_limits import require_new_task
from fedops.server.api.http import file_transfer
from fedops.server.api.http.authentication import PERSON, Named, Server, Who
from fedops.server.api.http.routers import api_router
from fedops.server.delivery.sources import task_sources
from fedops.server.jobs.delivery.delivery_jobs import private_folders
from fedops.server.services import bundles
from fedops.server.services.services import Services
from fedops.server.tasks import app_bundles, tasks

router = api_router("tasks", PERSON)
Commit = Annotated[str | None, Query(pattern=r"^[0-9a-f]{7,64}(-dirty)?$")]


@router.put("/bundles")
async def upload_bundle(request: Request, server: Server, commit: Commit = None) -> BlobRef:
    """Upload an app as a zip. The answer's ``sha256`` is what tasks name it by.

    ``commit``: the Git commit that its files were at, for the lineage of what it will train.
    """
    ref = await file_transfer.receive(request, server.artifacts, server.settings.max_bundle_bytes)
    return await run_in_threadpool(bundles.register_bundle, server, ref, commit)


@router.post("/tasks", status_code=201)
async def create_task(body: TaskCreate, server: Server, who: Who) -> TaskRead:
    """Make a task from an uploaded app. Refuses what would be wrong on every device.

    With a ``source`` in place of the app it is a draft, until the first commit there was found sound.
    """
    require_new_task(who, body.name)
    if body.source is not None:
        return await _create_draft(body, server)
    opened = app_bundles.config_from(server.artifacts)
    await server.require_sound(lambda s: tasks.plan_task(s, body, opened))
    return await server.change(lambda s: tasks.create_task(s, body, opened, server.clock()))


async def _create_draft(body: TaskCreate, server: Services) -> TaskRead:
    private = private_folders(server.settings)
    made = await server.change(
        lambda s: task_sources.create_from_source(s, body, private, server.clock())
    )
    server.wake_delivery()
    return made


@router.get("/tasks")
def list_tasks(server: Server, who: Who) -> list[TaskRead]:
    """All tasks, by name."""
    with server.db.read() as session:
        return tasks.list_tasks(session, within=who.tasks)


@router.get("/tasks/{task}")
def get_task(task: Named, server: Server) -> TaskRead:
    """One task."""
    with server.db.read() as session:
        return tasks.read_task(session, task)


@router.patch("/tasks/{task}")
async def update_task(task: Named, body: TaskUpdate, server: Server) -> TaskRead:
    """Change the app, the overrides or the description, for runs to come."""
    opened = app_bundles.config_from(server.artifacts)
    if await run_in_threadpool(_is_tried, server, task, body):
        await server.require_sound(lambda s: tasks.plan_update(s, task, body, opened))
    return await server.change(lambda s: tasks.update_task(s, task, body, opened, server.clock()))


def _is_tried(server: Services, task: str, body: TaskUpdate) -> bool:
    with server.db.read() as session:
        return tasks.changes_app(session, task, body)


@router.post("/tasks/{task}/archive")
def archive_task(task: Named, server: Server) -> TaskRead:
    """Put a task away. Its runs and models stay."""
    with server.db.write() as session:
        return tasks.archive_task(session, task, server.clock())


@router.post("/tasks/{task}/unarchive")
def unarchive_task(task: Named, server: Server) -> TaskRead:
    """Take an archived task out again."""
    with server.db.write() as session:
        return tasks.unarchive_task(session, task, server.clock())
