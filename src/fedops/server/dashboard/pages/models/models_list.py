"""The versions of a task, newest first: which one is good, and which one is in use."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.live.page import Page, Panel
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.database.database import ReadSession
from fedops.server.models import aliases, versions
from fedops.server.models.integrity import require_intact
from fedops.server.tasks import tasks

_SHOWN = 100


def models(view: View) -> dict[str, Any]:
    """The versions of the task that is asked for; of the first one otherwise."""
    names = [task.name for task in tasks.list_tasks(view.session, within=view.tasks)]
    wanted = view.query.get("task", "")
    task = wanted if wanted in names else (names[0] if names else "")
    found = versions.list_versions(view.session, task) if task else []
    return {
        "names": names,
        "task": task,
        "versions": list(reversed(found))[:_SHOWN],
        "promotes": view.may("POST /tasks/{task}/models/{version}/promote"),
    }


def one(view: View) -> dict[str, Any]:
    """The version that a form is about."""
    found = versions.read_version(view.session, view.path["task"], view.path["version"])
    return {"version": found}


async def _promote(sent: Submission) -> Done:
    task, version, services = sent.path["task"], sent.path["version"], sent.services
    alias = sent.text("alias")

    def promote(session: ReadSession) -> None:
        require_intact(services.artifacts, versions.read_version(session, task, version))
        aliases.promote_version(session, task, version, alias, services.clock())

    await services.change(promote)
    return Done(f"/models?task={task}", f"{version} of {task} is {alias} now.")


PAGES = (
    Page(
        path="/models",
        template="models/list.html",
        section="models",
        title=lambda view: "Models",
        panels=lambda view: (Panel("models", "models/list_table.html", models),),
        concerns=lambda view: lambda event: event.subject.startswith(("model ", "alias ", "task ")),
    ),
)
FORMS = (
    Form(
        path="/tasks/{task}/models/{version}/promote",
        template="models/promote.html",
        section="models",
        title=lambda view: f"Promote {view.path['version']} of {view.path['task']}",
        show=one,
        submit=_promote,
    ),
)
