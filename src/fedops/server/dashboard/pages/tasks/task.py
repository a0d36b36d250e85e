"""A task: is it getting better? Its versions, runs, devices and schedules; its code, config and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedops.server.contribution import score_views
from fedops.server.dashboard.live.page import Page, Panel
from fedops.server.dashboard.look.configs import as_toml
from fedops.server.dashboard.pages.tasks import deployed, last_round, version_line
from fedops.server.dashboard.pages.tasks.task_page import run_of, task_of
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.commits import commit_states
from fedops.server.delivery.rollouts import delivery_views, rollout_rows
from fedops.server.delivery.schedules import schedules
from fedops.server.events import event_log
from fedops.server.events.news import EventNews
from fedops.server.runs import control, views
from fedops.server.tasks import benches, task_members
from fedops.server.telemetry import explanations

_RUNS, _DEVICES = 20, 50
_EVENTS, _ALARMS, _COMMITS = 100, 10, 20
#: The tabs of the page: what the address says, and the word.
TABS = (
    ("", "Overview"),
    ("code", "Code"),
    ("clients", "Contribution and drift"),
    ("benches", "Benchmarks"),
    ("config", "Config"),
    ("events", "Events"),
)


def tab_of(view: View) -> str:
    """Which tab is open. The address alone says it: an open page keeps its panels."""
    asked = view.query.get("tab", "")
    return asked if asked in dict(TABS) else ""


def head(view: View) -> dict[str, Any]:
    """What it is and waits for, its run that goes on, and its buttons."""
    return {"task": task_of(view), "run": run_of(view)}


def runs(view: View) -> dict[str, Any]:
    """Its newest runs."""
    ids = control.run_ids(view.session, task_of(view).name, _RUNS, view.tasks)
    found = views.read_runs(view.session, ids, view.services.settings, view.now, view.tasks)
    return {"runs": found, "task": task_of(view)}


def devices(view: View) -> dict[str, Any]:
    """Its devices: those that need somebody first; and what each was worth so far."""
    name = task_of(view).name
    found = task_members.read_members(view.session, name, view.now, view.tasks, _DEVICES)
    names = {one.name for one in found.shown}
    worth = score_views.standings_of(view.session, name, names)
    return {"devices": found, "task": task_of(view), "worth": worth}


def training(view: View) -> dict[str, Any]:
    """What begins its runs by itself."""
    name = task_of(view).name
    return {
        "schedules": schedules.list_schedules(view.session, name, view.now),
        "drifts": schedules.drifts(view.session, name),
        "task": task_of(view),
    }


def code(view: View) -> dict[str, Any]:
    """Where its code comes from, and the newest commits with what their check said."""
    task = task_of(view)
    return {
        "task": task,
        "source": delivery_views.read_source(view.session, task.name),
        "commits": commit_states.list_commits(view.session, task.name, _COMMITS),
        "runs_use": rollout_rows.commit_in_use(view.session, task.name),
    }


def clients(view: View) -> dict[str, Any]:
    """What each device was worth, and which explanations have jumped."""
    name = task_of(view).name
    ids = control.run_ids(view.session, name, _RUNS, view.tasks)
    return {
        "task": task_of(view),
        "found": score_views.contributions(view.session, name),
        "alarms": explanations.newest_alarms(view.session, ids, _ALARMS),
        "drifts": schedules.drifts(view.session, name),
    }


def timings(view: View) -> dict[str, Any]:
    """How long a round would take each device."""
    found = benches.list_benches(view.session, task_of(view).name, view.tasks)
    return {"found": found.benches, "task": task_of(view)}


def config(view: View) -> dict[str, Any]:
    """What the next run would use, secrets hidden."""
    return {"text": as_toml(task_of(view).config), "task": task_of(view)}


def events(view: View) -> dict[str, Any]:
    """What happened to it, newest first."""
    task = task_of(view)
    found = event_log.newest_about(view.session, f"task {task.name}", _EVENTS)
    return {"events": found, "task": task}


def _panels(view: View) -> tuple[Panel, ...]:
    shown = {
        "": (
            Panel("models", "tasks/models.html", version_line.line),
            Panel("round", "tasks/last_round.html", last_round.last_round),
            Panel("devices", "tasks/devices.html", devices),
            Panel("runs", "tasks/runs.html", runs),
            Panel("schedules", "tasks/schedules.html", training),
        ),
        "code": (
            Panel("code", "tasks/code.html", code),
            Panel("deployed", "tasks/deployed.html", deployed.deployed),
        ),
        "clients": (Panel("clients", "tasks/clients.html", clients),),
        "benches": (Panel("benches", "tasks/benches.html", timings),),
        "config": (Panel("config", "tasks/config.html", config),),
        "events": (Panel("events", "tasks/events.html", events),),
    }
    return (Panel("head", "tasks/head.html", head), *shown[tab_of(view)])


def _of_task(view: View) -> Callable[[EventNews], bool]:
    name = view.path["task"]
    own = (f"task {name}", f"schedule {name}", f"commit {name}", f"rollout {name}")
    subjects = (*own, "run ", "round ", "device ", "model ", "alias ")
    return lambda event: event.subject.startswith(subjects)


PAGES = (
    Page(
        path="/tasks/{task}",
        template="tasks/page.html",
        section="tasks",
        title=lambda view: f"Task {task_of(view).name}",
        panels=_panels,
        concerns=_of_task,
        around=lambda view: {"tab": tab_of(view), "tabs": TABS, "task": task_of(view)},
    ),
)
