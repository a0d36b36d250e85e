"""The registry: global model versions, their files and aliases."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from fedops.core.contracts import (
    AliasRead,
    Because,
    FileCheck,
    ModelComparison,
    ModelVersionRead,
    Promotion,
    Rebuild,
    RebuildRead,
    ServingRead,
)
from fedops.server.api.http import file_transfer
from fedops.server.api.http.authentication import PERSON, Named, NameFilter, Server, Who
from fedops.server.api.http.routers import api_router
from fedops.server.delivery.serving.serving_views import serving_read
from fedops.server.models import aliases, comparison, integrity, quarantine, versions
from fedops.server.runs import rebuilding, views
from fedops.server.services.services import Services

router = api_router("models", PERSON)
_VERSION = r"^[A-Za-z0-9._-]{1,63}$"
Version = Annotated[str, Path(pattern=_VERSION)]
Other = Annotated[str, Path(pattern=_VERSION)]
Alias = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


def _version(server: Services, task: str, version: str) -> ModelVersionRead:
    with server.db.read() as session:
        return versions.read_version(session, task, version)


@router.get("/models/verify")
def verify_models(server: Server, who: Who, task: NameFilter = None) -> list[FileCheck]:
    """Read every version's file, of one task or all, and compare it with its sha256."""
    with server.db.read() as session:
        files = integrity.to_check(session, task, who.tasks)
    return integrity.check_files(server.artifacts, files)


@router.get("/tasks/{task}/models")
def list_models(task: Named, server: Server) -> list[ModelVersionRead]:
    """The task's global model versions, oldest first."""
    with server.db.read() as session:
        return versions.list_versions(session, task)


@router.get("/tasks/{task}/models/{version}")
def get_model(task: Named, version: Version, server: Server) -> ModelVersionRead:
    """One version: a number, ``V3``, or an alias such as ``latest``."""
    with server.db.read() as session:
        return versions.read_version(session, task, version)


@router.get("/tasks/{task}/models/{version}/file", response_class=FileResponse)
def download_model(task: Named, version: Version, server: Server) -> FileResponse:
    """The model itself, as safetensors."""
    with server.db.read() as session:
        found = versions.read_version(session, task, version)
    name = f"{task}-V{found.version}.safetensors"
    return file_transfer.send(server.artifacts, found.sha256, name)


@router.get("/tasks/{task}/models/{version}/compare/{other}")
def compare_models(task: Named, version: Version, other: Other, server: Server) -> ModelComparison:
    """Two versions side by side: metrics, config, and the distance of each tensor."""
    first, second = _version(server, task, version), _version(server, task, other)
    integrity.require_intact(server.artifacts, first)
    integrity.require_intact(server.artifacts, second)
    files = (server.artifacts.path(first.sha256), server.artifacts.path(second.sha256))
    return comparison.compare_versions(first, second, files)


@router.post("/tasks/{task}/models/{version}/promote")
def promote_model(
    task: Named, version: Version, body: Promotion, server: Server
) -> ModelVersionRead:
    """Let an alias name a version, once its file is found intact."""
    integrity.require_intact(server.artifacts, _version(server, task, version))
    with server.db.write() as session:
        return aliases.promote_version(session, task, version, body.alias, server.clock())


@router.post("/tasks/{task}/models/{version}/quarantine")
def quarantine_model(
    task: Named, version: Version, body: Because, server: Server
) -> ModelVersionRead:
    """Take a version out of use: ``latest`` passes it over, no run starts from it, no alias moves to it."""
    with server.db.write() as session:
        return quarantine.quarantine_version(session, task, version, body.because, server.clock())


@router.post("/tasks/{task}/models/{version}/release")
def release_model(task: Named, version: Version, body: Because, server: Server) -> ModelVersionRead:
    """Let a quarantined version be used again."""
    with server.db.write() as session:
        return quarantine.release_version(session, task, version, body.because, server.clock())


@router.post("/tasks/{task}/models/{version}/rebuild", status_code=201)
async def rebuild_model(
    task: Named, version: Version, body: Rebuild, server: Server, who: Who
) -> RebuildRead:
    """Make a version again without a device: of the kept updates of its last round, or by a new run."""
    now = server.clock()
    await server.require_sound(lambda s: rebuilding.planned_run(s, task, version, body, now))
    run_id, plan = await server.change(
        lambda s: rebuilding.rebuild(s, task, version, body, server.clock())
    )

    def read() -> RebuildRead:
        with server.db.read() as session:
            run = views.read_run(session, run_id, server.settings, server.clock(), who.tasks)
        again = plan.again is not None
        return RebuildRead(run=run, how=plan.text, aggregates_again=again)

    return await run_in_threadpool(read)


@router.get("/tasks/{task}/aliases")
def list_aliases(task: Named, server: Server) -> list[AliasRead]:
    """The task's aliases, and what they named before."""
    with server.db.read() as session:
        return aliases.list_aliases(session, task)


@router.post("/tasks/{task}/aliases/{alias}/rollback")
def rollback_alias(task: Named, alias: Alias, server: Server) -> ModelVersionRead:
    """Take back an alias's last move. The answer is the version that it names again."""
    with server.db.write() as session:
        return aliases.roll_back_alias(session, task, alias, server.clock())


@router.get("/tasks/{task}/serving")
def list_serving(task: Named, server: Server) -> list[ServingRead]:
    """The devices that serve the task's model: what is wanted of each, what it has, and why."""
    with server.db.read() as session:
        return serving_read(session, task, server.clock())
