"""All runs, newest first, a page at a time."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import RunRead
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.runs import control, views

_A_PAGE = 50


def runs(view: View) -> dict[str, Any]:
    """A page of runs, of one task or all."""
    task, before = view.query.get("task") or None, whole_number(view.query.get("before", ""))
    ids = control.run_ids(view.session, task, _A_PAGE + 1, view.tasks, before=before)
    return {
        "runs": _read(view, ids[:_A_PAGE]),
        "task": task or "",
        "older": ids[_A_PAGE - 1] if len(ids) > _A_PAGE else None,
        "newer": before is not None,
    }


def _read(view: View, ids: list[int]) -> list[RunRead]:
    return views.read_runs(view.session, ids, view.services.settings, view.now, view.tasks)


PAGES = (
    Page(
        path="/runs",
        template="runs/list.html",
        section="runs",
        title=lambda view: "Runs",
        panels=lambda view: (Panel("runs", "runs/list_table.html", runs),),
        concerns=any_event,
    ),
)
