"""Making a task of an app that is uploaded as a zip file: checked as the API checks it, then ready."""

from __future__ import annotations

import asyncio
from typing import BinaryIO

from fedops.core.contracts import BlobRef, TaskCreate
from fedops.core.errors import Invalid
from fedops.server.access.task_limits import require_new_task
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.services import bundles
from fedops.server.services.services import Services
from fedops.server.tasks import app_bundles, tasks

_BLOCK = 1 << 20


async def _create(sent: Submission) -> Done:
    """Whoever may not make the task is refused before anything of the file is kept."""
    services, name = sent.services, sent.text("name")
    require_new_task(sent.who, name)
    if sent.file is None:
        raise Invalid("choose the zip file of the app")
    plain = {"overrides": sent.lines("overrides"), "description": sent.text("description")}
    TaskCreate.model_validate({"name": name, "bundle": "0" * 64, **plain})  # before it is kept
    ref = await asyncio.to_thread(_keep, services, sent.file.file)
    body = TaskCreate.model_validate({"name": name, "bundle": ref.sha256, **plain})
    opened = app_bundles.config_from(services.artifacts)
    await services.require_sound(lambda s: tasks.plan_task(s, body, opened))
    await services.change(lambda s: tasks.create_task(s, body, opened, services.clock()))
    return Done(f"/tasks/{name}", f"Task {name} is ready: devices can join it.")


def _keep(services: Services, file: BinaryIO) -> BlobRef:
    """The app, stored and looked into. ``Invalid``: it is none, and nothing of it is kept."""
    upload = services.artifacts.begin()
    try:
        while block := file.read(_BLOCK):
            upload.write(block)
        ref = upload.finish()
    finally:
        upload.abort()
    return bundles.register_bundle(services, ref, None)


FORMS = (
    Form(
        path="/upload-task",
        template="tasks/upload.html",
        section="tasks",
        title=lambda view: "New task of a zip file",
        show=lambda view: {"limit": view.services.settings.max_bundle_bytes},
        submit=_create,
        takes_file=True,
    ),
)
