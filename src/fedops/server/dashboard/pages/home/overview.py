"""Overview: what needs somebody first, then what runs, then the devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedops.core.contracts import RunRead
from fedops.server.attention import device_counts, of_runs
from fedops.server.attention.things_to_do import things_to_do
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.view import View
from fedops.server.devices import presence_history
from fedops.server.pictures import grids
from fedops.server.pictures.round_times import ClientTime
from fedops.server.runs import glances, views
from fedops.server.tasks import tasks

#: Things, runs and rounds that are shown.
_THINGS, _RUNS, _ENDED, _ROUNDS = 3, 20, 5, 40
_HOURS = 24.0


@dataclass(frozen=True)
class Going:
    """A run that goes on, at a glance."""

    run: RunRead
    #: The figure that it is followed by; "": it has none yet.
    metric: str
    values: list[float | None]
    #: Who its newest committed round waited for longest.
    slowest: ClientTime | None


def _active(view: View) -> list[RunRead]:
    return view.once(
        "active",
        lambda: of_runs.active_runs(view.session, view.services.settings, view.now, view.tasks),
    )


def _counts(view: View) -> device_counts.DeviceCounts:
    return view.once(
        "counts", lambda: device_counts.count_devices(view.session, view.now, view.tasks)
    )


def needs(view: View) -> dict[str, Any]:
    """What needs somebody: the first few of it, or all where that is asked for."""
    settings = view.services.settings
    found = things_to_do(view.session, settings, view.now, view.tasks, _active(view))
    shown = found if view.query.get("all") else found[:_THINGS]
    failed_at = None if found else glances.last_failure(view.session, view.tasks)
    return {"things": shown, "all": len(found), "failed_at": failed_at, **_beginning(view)}


def _beginning(view: View) -> dict[str, bool]:
    """How far somebody is who begins: a task, a device, a run."""
    runs = bool(_active(view)) or bool(glances.ended_runs(view.session, 1, view.tasks))
    has_task = runs or tasks.any_task(view.session, view.tasks)
    return {"has_task": has_task, "has_device": _counts(view).total > 0, "has_run": runs}


def running(view: View) -> dict[str, Any]:
    """The runs that are not over, and those that ended last."""
    active, session = _active(view), view.session
    ids = glances.ended_runs(session, _ENDED, view.tasks)
    ended = views.read_runs(session, ids, view.services.settings, view.now, view.tasks)
    going = [_going(view, run) for run in active[:_RUNS]]
    return {"going": going, "more": len(active) - len(going), "ended": ended}


def _going(view: View, run: RunRead) -> Going:
    rounds = glances.newest_metrics(view.session, run.id, _ROUNDS)
    name = _followed(rounds[-1] if rounds else run.metrics)
    values = [one.get(name) for one in rounds]
    slowest = grids.slowest_clients(view.session, run.id, run.committed_rounds)
    return Going(run, name, values, slowest[0] if slowest else None)


def _followed(measured: Any) -> str:
    """Which figure tells how good a model is: its accuracy, else its loss, else the first there is."""
    names = [name for name in ("accuracy", "loss") if name in measured]
    return (names or sorted(measured) or [""])[0]


def devices(view: View) -> dict[str, Any]:
    """How many devices there are, how they are, and how many bytes crossed the network today."""
    since = glances.midnight(view.now)
    online = presence_history.online_over_time(view.session, _HOURS, view.now, view.tasks)
    return {
        "count": _counts(view),
        "online": [float(number) for _, number in online],
        "traffic": glances.traffic_since(view.session, since, view.tasks),
    }


PAGES = (
    Page(
        path="/",
        template="overview/page.html",
        section="overview",
        title=lambda view: "Overview",
        panels=lambda view: (
            Panel("needs", "overview/needs.html", needs),
            Panel("running", "overview/running.html", running),
            Panel("devices", "overview/devices.html", devices, on=("device.",)),
        ),
        concerns=any_event,
    ),
)
