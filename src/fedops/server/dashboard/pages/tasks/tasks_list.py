"""All tasks, by name."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.view import View
from fedops.server.tasks import tasks


def all_tasks(view: View) -> dict[str, Any]:
    """The tasks, with what each waits for."""
    return {"tasks": tasks.list_tasks(view.session, within=view.tasks)}


PAGES = (
    Page(
        path="/tasks",
        template="tasks/list.html",
        section="tasks",
        title=lambda view: "Tasks",
        panels=lambda view: (Panel("tasks", "tasks/list_table.html", all_tasks),),
        concerns=any_event,
    ),
)
