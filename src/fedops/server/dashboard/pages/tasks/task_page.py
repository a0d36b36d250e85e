"""The task that a page is about, and its run that goes on or was the last, read once for all panels."""

from __future__ import annotations

from fedops.core.contracts import RunRead, TaskRead
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.view import View
from fedops.server.runs import control, views
from fedops.server.tasks import tasks


def task_of(view: View) -> TaskRead:
    """The task that the page is about."""
    return view.once("task", lambda: tasks.read_task(view.session, view.path["task"]))


def run_of(view: View) -> RunRead | None:
    """Its run that goes on, else the last one; None: it had none yet."""

    def read() -> RunRead | None:
        task, settings = task_of(view), view.services.settings
        ids = [task.active_run] if task.active_run is not None else []
        ids = ids or control.run_ids(view.session, task.name, 1, view.tasks)
        found = views.read_runs(view.session, ids, settings, view.now, view.tasks)
        return found[0] if found else None

    return view.once("run", read)


def here(view: View, **changes: object) -> str:
    """This page with its address changed in these points; None: not said any more."""
    return address(f"/tasks/{view.path['task']}", view.query, **changes)
