"""Overview: what needs somebody first, then what runs, then the devices."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import RunRead
from fedops.core.states import RUN_TERMINAL
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.view import View
from fedops.server.devices import registry
from fedops.server.runs import control, views

_RUNS_LOOKED_AT = 50


def _runs(view: View) -> list[RunRead]:
    ids = control.run_ids(view.session, None, _RUNS_LOOKED_AT, view.tasks)
    return views.read_runs(view.session, ids, view.services.settings, view.now, view.tasks)


def running(view: View) -> dict[str, Any]:
    """The runs that are not over."""
    runs = view.once("runs", lambda: _runs(view))
    return {"runs": [run for run in runs if run.status not in RUN_TERMINAL]}


def devices(view: View) -> dict[str, Any]:
    """How many devices there are, and how they are."""
    found = registry.list_devices(view.session, view.now, within=view.tasks)
    return {"devices": found, "online": sum(device.online for device in found)}


PAGES = (
    Page(
        path="/",
        template="overview/page.html",
        section="overview",
        title=lambda view: "Overview",
        panels=lambda view: (
            Panel("running", "overview/running.html", running),
            Panel("devices", "overview/devices.html", devices),
        ),
        concerns=any_event,
    ),
)
