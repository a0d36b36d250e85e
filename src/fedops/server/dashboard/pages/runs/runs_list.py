"""All runs, newest first, a page at a time."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import RunRead
from fedops.core.errors import NotFound
from fedops.core.states import RunStatus
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.runs import control, views

_A_PAGE = 50


def runs(view: View) -> dict[str, Any]:
    """A page of runs: of one task or all, in one state or any."""
    task, before = view.query.get("task") or None, whole_number(view.query.get("before", ""))
    status, problem = status_of(view.query.get("status", "")), ""
    ids: list[int] = []
    try:
        ids = control.run_ids(
            view.session, task, _A_PAGE + 1, view.tasks, before=before, status=status
        )
    except NotFound as error:
        problem = error.message
    older = ids[_A_PAGE - 1] if len(ids) > _A_PAGE else None
    return {
        "runs": [(run, _took(run, view.now)) for run in _read(view, ids[:_A_PAGE])],
        "task": task or "",
        "filtered": bool(task or status),
        "problem": problem,
        "older": address("/runs", view.query, before=older) if older else "",
        "newest": address("/runs", view.query, before=None) if before else "",
    }


def status_of(text: str) -> RunStatus | None:
    """The state that an address names; None for any."""
    return RunStatus(text) if text in list(RunStatus) else None


def _read(view: View, ids: list[int]) -> list[RunRead]:
    return views.read_runs(view.session, ids, view.services.settings, view.now, view.tasks)


def _took(run: RunRead, now: float) -> float | None:
    """How long it took, or has taken until now. Seconds."""
    return None if run.started_at is None else (run.ended_at or now) - run.started_at


PAGES = (
    Page(
        path="/runs",
        template="runs/list.html",
        section="runs",
        title=lambda view: "Runs",
        panels=lambda view: (Panel("runs", "runs/list_table.html", runs),),
        concerns=any_event,
        around=lambda view: {"statuses": [one.value for one in RunStatus]},
    ),
)
