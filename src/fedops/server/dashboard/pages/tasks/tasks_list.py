"""All tasks: what goes on first, the archived ones last."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.schedules import schedules
from fedops.server.runs import views
from fedops.server.tasks import task_list


def all_tasks(view: View) -> dict[str, Any]:
    """The tasks, with their runs that go on and when a schedule fires next."""
    lines = task_list.list_lines(view.session, view.now, view.tasks)
    active = [line.active_run for line in lines if line.active_run is not None]
    settings = view.services.settings
    found = views.read_runs(view.session, active, settings, view.now, view.tasks)
    return {
        "tasks": lines,
        "runs": {run.id: run for run in found},
        "firings": schedules.next_firings(view.session),
    }


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
