"""The versions of a task, newest first: which one is good, and which one is in use."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.live.page import Page, Panel
from fedops.server.dashboard.web.view import View
from fedops.server.models import versions
from fedops.server.tasks import tasks

_SHOWN = 100


def models(view: View) -> dict[str, Any]:
    """The versions of the task that is asked for; of the first one otherwise."""
    names = [task.name for task in tasks.list_tasks(view.session, within=view.tasks)]
    wanted = view.query.get("task", "")
    task = wanted if wanted in names else (names[0] if names else "")
    found = versions.list_versions(view.session, task) if task else []
    return {"names": names, "task": task, "versions": list(reversed(found))[:_SHOWN]}


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
