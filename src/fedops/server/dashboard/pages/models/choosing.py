"""Which task and run a page is about, by its address."""

from __future__ import annotations

from fedops.core.errors import NotFound
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.database.lookup import require_run
from fedops.server.runs import control


def run_in(view: View) -> int | None:
    """The run that the address names, if this user may be told of it. ``NotFound`` otherwise."""
    if not view.query.get("run"):
        return None
    number = whole_number(view.query["run"])
    if number is None:
        raise NotFound(f"there is no run '{view.query['run'][:40]}'")
    task = require_run(view.session, number).task
    if view.tasks is not None and task not in view.tasks:
        raise NotFound(f"there is no run {number} among yours")
    return number


def task_of(view: View, run_id: int | None) -> str | None:
    """The task of a run, or else the one that the address names."""
    if run_id is not None:
        return require_run(view.session, run_id).task
    return view.query.get("task") or None


def newest_runs(view: View, most: int = 30) -> list[int]:
    """The newest runs, of the task that the address names, or of all."""
    task = view.query.get("task") or None
    return control.run_ids(view.session, task, most, view.tasks)
