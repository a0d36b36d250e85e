"""What one does with a version: promote, roll back, quarantine, release, rebuild, verify, download."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from fedops.core.contracts import Because, ModelVersionRead, Promotion, Rebuild
from fedops.core.contracts.models import SERVING
from fedops.core.errors import Invalid
from fedops.server.access.principal import Principal
from fedops.server.dashboard.pages.models.version import path_of, version_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.resources import Resource
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.serving.serving_views import serving_read
from fedops.server.models import aliases, quarantine, versions
from fedops.server.models.integrity import require_intact
from fedops.server.runs import rebuilding
from fedops.server.services.services import Services


def _about(view: View) -> dict[str, Any]:
    version = version_of(view)
    named = versions.aliases(view.session, version.task)
    return {
        "version": version,
        "here": path_of(version),
        "named": sorted(named.items()),
        "serving": named.get(SERVING),
        "devices": sorted(version.lineage.get("devices") or {})[:1_000],
    }


def _about_promotion(view: View) -> dict[str, Any]:
    found = _about(view)
    serve = serving_read(view.session, found["version"].task, view.now)
    return {**found, "servers": sum(one.alias == SERVING for one in serve)}


def _about_alias(view: View) -> dict[str, Any]:
    task, name = view.path["task"], view.path["alias"]
    found = [one for one in aliases.list_aliases(view.session, task) if one.name == name]
    standing = [move for one in found for move in one.moves if move.undone_at is None]
    serve = serving_read(view.session, task, view.now)
    return {
        "task": task,
        "alias": name,
        "moves": standing,
        "servers": sum(one.alias == name for one in serve),
    }


async def _promote(sent: Submission) -> Done:
    task, services, name = sent.path["task"], sent.services, sent.text("alias") or SERVING
    if len(name) > 63:
        raise Invalid("an alias has at most 63 characters")
    body = Promotion(alias=name)
    version = await _verified(services, task, sent.path["version"])
    made = await services.change(
        lambda s: aliases.promote_version(
            s, task, f"V{version.version}", body.alias, services.clock()
        )
    )
    where = address("/models", {}, task=task) if sent.text("back") else path_of(made)
    return Done(where, f"{body.alias} of {task} is V{made.version} now.")


async def _roll_back(sent: Submission) -> Done:
    task, name, services = sent.path["task"], sent.path["alias"], sent.services
    made = await services.change(lambda s: aliases.roll_back_alias(s, task, name, services.clock()))
    return Done(path_of(made), f"{name} of {task} is V{made.version} again.")


def _because(sent: Submission) -> str:
    text = sent.text("because")
    if not any(letter.isalnum() for letter in text) or len(text) > 1_000:
        raise Invalid("say why, in at most 1,000 characters: it is kept with the version")
    return Because(because=text).because


async def _quarantine(sent: Submission) -> Done:
    task, name, services = sent.path["task"], sent.path["version"], sent.services
    why = _because(sent)
    made = await services.change(
        lambda s: quarantine.quarantine_version(s, task, name, why, services.clock())
    )
    return Done(path_of(made), f"V{made.version} of {task} is quarantined.")


async def _release(sent: Submission) -> Done:
    task, name, services = sent.path["task"], sent.path["version"], sent.services
    why = _because(sent)
    made = await services.change(
        lambda s: quarantine.release_version(s, task, name, why, services.clock())
    )
    return Done(path_of(made), f"V{made.version} of {task} can be used again.")


async def _rebuild(sent: Submission) -> Done:
    task, name, services = sent.path["task"], sent.path["version"], sent.services
    device = sent.text("without")
    if not device or len(device) > 63:
        raise Invalid("choose the device whose updates are to be left out")
    body = Rebuild(without=device, last_round=bool(sent.text("last_round")))
    await services.require_sound(
        lambda s: rebuilding.planned_run(s, task, name, body, services.clock())
    )
    run_id, plan = await services.change(
        lambda s: rebuilding.rebuild(s, task, name, body, services.clock())
    )
    return Done(f"/runs/{run_id}", f"Run {run_id}: {plan.text}")


async def _verify(sent: Submission) -> Done:
    version = await _verified(sent.services, sent.path["task"], sent.path["version"])
    said = f"The file of V{version.version} was read: it is what it was when it was made."
    return Done(path_of(version), said)


async def _verified(services: Services, task: str, name: str) -> ModelVersionRead:
    """A version whose file was read and is intact. ``Unavailable`` otherwise."""
    version = await services.look(lambda s: versions.read_version(s, task, name))
    await asyncio.to_thread(require_intact, services.artifacts, version)
    return version


async def _file(request: Request, services: Services, who: Principal) -> Response:
    """The model itself, as safetensors."""
    task, name = request.path_params["task"], request.path_params["version"]
    version = await services.look(lambda s: versions.read_version(s, task, name))
    return FileResponse(
        services.artifacts.path(version.sha256),
        media_type="application/octet-stream",
        filename=f"{task}-V{version.version}.safetensors",
        headers={"x-fedops-sha256": version.sha256, "cache-control": "no-store"},
    )


def _titled(verb: str) -> Any:
    return lambda view: f"{verb} V{version_of(view).version} of {view.path['task']}"


_PATH = "/tasks/{task}/models/{version}"
FORMS = (
    Form(
        f"{_PATH}/promote",
        "model/promote.html",
        "models",
        _titled("Promote"),
        _promote,
        _about_promotion,
    ),
    Form(
        f"{_PATH}/quarantine",
        "model/quarantine.html",
        "models",
        _titled("Quarantine"),
        _quarantine,
        _about,
    ),
    Form(f"{_PATH}/release", "model/release.html", "models", _titled("Release"), _release, _about),
    Form(f"{_PATH}/rebuild", "model/rebuild.html", "models", _titled("Rebuild"), _rebuild, _about),
    Form(f"{_PATH}/verify", "model/verify.html", "models", _titled("Verify"), _verify, _about),
    Form(
        "/tasks/{task}/aliases/{alias}/rollback",
        "model/rollback.html",
        "models",
        lambda view: f"Roll back {view.path['alias']} of {view.path['task']}",
        _roll_back,
        _about_alias,
    ),
)
RESOURCES = (Resource(f"{_PATH}/file", _file),)
