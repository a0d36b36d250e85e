"""A task: is it getting better? Its versions, its runs, its devices; and starting the next run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedops.core.contracts import RunStart, TaskRead
from fedops.server.dashboard.live.page import Page, Panel
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.devices import registry
from fedops.server.events.news import EventNews
from fedops.server.models import versions
from fedops.server.runs import control, views
from fedops.server.tasks import tasks

_RUNS, _VERSIONS, _MOST_ROUNDS = 20, 20, 1_000_000


def task_of(view: View) -> TaskRead:
    """The task that the page is about."""
    return view.once("task", lambda: tasks.read_task(view.session, view.path["task"]))


def head(view: View) -> dict[str, Any]:
    """What it is and waits for, and its buttons."""
    return {"task": task_of(view)}


def runs(view: View) -> dict[str, Any]:
    """Its newest runs."""
    ids = control.run_ids(view.session, task_of(view).name, _RUNS, view.tasks)
    found = views.read_runs(view.session, ids, view.services.settings, view.now, view.tasks)
    return {"runs": found, "task": task_of(view)}


def models(view: View) -> dict[str, Any]:
    """Its newest versions, and how they did over time."""
    found = versions.list_versions(view.session, task_of(view).name)
    shown = [version for version in found if version.quarantine is None]
    return {
        "versions": list(reversed(found))[:_VERSIONS],
        "accuracies": [version.metrics.get("accuracy") for version in shown[-40:]],
    }


def devices(view: View) -> dict[str, Any]:
    """Its devices, and what each does."""
    name = task_of(view).name
    return {"devices": registry.list_devices(view.session, view.now, name, view.tasks)[:100]}


def _of_task(view: View) -> Callable[[EventNews], bool]:
    subjects = (f"task {view.path['task']}", "run ", "round ", "device ", "model ", "alias ")
    return lambda event: event.subject.startswith(subjects)


async def _start(sent: Submission) -> Done:
    """As the API does it: what would be wrong on every device is refused first."""
    task, services = sent.path["task"], sent.services
    body = RunStart(overrides=_overrides(sent), new_model=sent.text("new_model") == "yes")
    now = services.clock()
    await services.require_sound(lambda s: control.plan_run(s, task, body, now))
    run_id = await services.change(lambda s: control.start_run(s, task, body, services.clock()))
    return Done(f"/runs/{run_id}", f"Run {run_id} of {task} has begun.")


def _overrides(sent: Submission) -> list[str]:
    lines = [line.strip() for line in sent.text("overrides").splitlines() if line.strip()]
    if sent.text("rounds"):
        lines.append(f"num_rounds={sent.whole('rounds', 1, _MOST_ROUNDS)}")
    return lines


PAGES = (
    Page(
        path="/tasks/{task}",
        template="tasks/page.html",
        section="tasks",
        title=lambda view: f"Task {task_of(view).name}",
        panels=lambda view: (
            Panel("head", "tasks/head.html", head),
            Panel("models", "tasks/models.html", models),
            Panel("runs", "tasks/runs.html", runs),
            Panel("devices", "tasks/devices.html", devices),
        ),
        concerns=_of_task,
    ),
)
FORMS = (
    Form(
        path="/tasks/{task}/runs",
        template="tasks/start.html",
        section="tasks",
        title=lambda view: f"Start a run of {view.path['task']}",
        show=head,
        submit=_start,
    ),
)
