"""The run that a page is about."""

from __future__ import annotations

from fedops.core.contracts import RunRead
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.view import View
from fedops.server.runs import views


def run_of(view: View) -> RunRead:
    """The run that the page is about."""
    run_id, settings = int(view.path["run_id"]), view.services.settings
    return view.once(
        "run", lambda: views.read_run(view.session, run_id, settings, view.now, view.tasks)
    )


def here(view: View, **changes: object) -> str:
    """This page with its address changed in these points; None: not said any more."""
    return address(f"/runs/{view.path['run_id']}", view.query, **changes)
