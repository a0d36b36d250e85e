"""Changing a task: its description and config; putting it away, taking it out again; timing its devices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fedops.core.contracts import BenchRequest, TaskUpdate
from fedops.server.dashboard.pages.tasks.task_page import task_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.tasks import app_bundles, benches, tasks


def _show(view: View) -> Mapping[str, Any]:
    return {"task": task_of(view)}


def _show_overrides(view: View) -> Mapping[str, Any]:
    task = task_of(view)
    return {"task": task, "overrides": tasks.overrides_of(view.session, task.name)}


async def _describe(sent: Submission) -> Done:
    body = TaskUpdate(description=sent.text("description").replace("\r\n", "\n"))
    return await _update(sent, body, "", "has a new description")


async def _override(sent: Submission) -> Done:
    return await _update(
        sent, TaskUpdate(overrides=sent.lines("overrides")), "?tab=config", "has another config"
    )


async def _update(sent: Submission, body: TaskUpdate, tab: str, said: str) -> Done:
    """As the API does it: a config that would be wrong on every device is refused first."""
    task, services = sent.path["task"], sent.services
    opened = app_bundles.config_from(services.artifacts)
    if await services.look(lambda s: tasks.changes_app(s, task, body)):
        await services.require_sound(lambda s: tasks.plan_update(s, task, body, opened))
    await services.change(lambda s: tasks.update_task(s, task, body, opened, services.clock()))
    return Done(f"/tasks/{task}{tab}", f"Task {task} {said}. Runs that go on keep theirs.")


def _move(change: Callable[[Any, str, float], Any], said: str) -> Callable[[Submission], Any]:
    async def submit(sent: Submission) -> Done:
        task, services = sent.path["task"], sent.services
        await services.change(lambda s: change(s, task, services.clock()))
        return Done(f"/tasks/{task}", f"Task {task} {said}.")

    return submit


async def _time_devices(sent: Submission) -> Done:
    task, services = sent.path["task"], sent.services
    fraction = sent.whole("percent", 1, 100) / 100
    body = BenchRequest(devices=sent.words("devices"), fraction=fraction)
    found = await services.change(
        lambda s: benches.start_benches(s, task, body, services.clock(), sent.who.tasks)
    )
    left = "; ".join(f"not {one.device}: {one.reason}" for one in found.left_out[:3])
    more = len(found.left_out) - 3
    said = f"{len(found.benches)} devices are timed" + (f"; {left}" if left else "")
    return Done(f"/tasks/{task}?tab=benches", said + (f"; and {more} more" if more > 0 else ""))


def _form(
    path: str,
    template: str,
    title: str,
    submit: Callable[[Submission], Awaitable[Done]],
    show: Callable[[View], Mapping[str, Any]] = _show,
) -> Form:
    return Form(
        path=f"/tasks/{{task}}/{path}",
        template=f"tasks/{template}.html",
        section="tasks",
        title=lambda view: f"{title} {view.path['task']}",
        show=show,
        submit=submit,
    )


FORMS = (
    _form("archive", "archive", "Archive task", _move(tasks.archive_task, "is archived")),
    _form("unarchive", "unarchive", "Unarchive task", _move(tasks.unarchive_task, "is out again")),
    _form("description", "describe", "Describe task", _describe),
    _form("overrides", "overrides", "Change the config of", _override, _show_overrides),
    _form("benches", "time_devices", "Time the devices of", _time_devices),
)
