"""Making a task of a Git repository or a folder, and where the code of a task comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedops.core.contracts import SourceSet, TaskCreate
from fedops.server.access.permissions import PREFIX
from fedops.server.access.task_limits import require_new_task
from fedops.server.dashboard.pages.tasks.task_page import task_of
from fedops.server.dashboard.web.forms import Done, Form, Shown, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.rollouts import delivery_views
from fedops.server.delivery.sources import task_sources
from fedops.server.jobs.delivery.delivery_jobs import private_folders

_WEEK = 604_800


def _asked(sent: Submission) -> SourceSet:
    return SourceSet(
        url=sent.text("url"),
        ref=sent.text("ref"),
        subfolder=sent.text("subfolder"),
        poll_seconds=sent.whole("poll_seconds", 0, _WEEK),
    )


async def _create(sent: Submission) -> Done:
    """A draft, until the first commit of its source was found sound."""
    services = sent.services
    body = TaskCreate(
        name=sent.text("name"),
        source=_asked(sent),
        overrides=sent.lines("overrides"),
        description=sent.text("description"),
    )
    require_new_task(sent.who, body.name)
    private = private_folders(services.settings)
    await services.change(
        lambda s: task_sources.create_from_source(s, body, private, services.clock())
    )
    services.wake_delivery()
    return Done(
        f"/tasks/{body.name}?tab=code", f"Task {body.name} is a draft: its code is being looked at."
    )


async def _set(sent: Submission) -> Done:
    task, services, body = sent.path["task"], sent.services, _asked(sent)
    private = private_folders(services.settings)
    await services.change(
        lambda s: task_sources.set_source(s, task, body, private, services.clock())
    )
    services.wake_delivery()
    return Done(f"/tasks/{task}?tab=code", f"The source of {task} is being looked at.")


async def _remove(sent: Submission) -> Done:
    task, services = sent.path["task"], sent.services
    await services.change(lambda s: task_sources.remove_source(s, task, services.clock()))
    return Done(f"/tasks/{task}?tab=code", f"Task {task} keeps the code that it has.")


async def _hook(sent: Submission) -> Shown:
    """The secret is shown to who asks for it by a button, and is in no page before."""
    task, services = sent.path["task"], sent.services
    await services.look(lambda s: task_sources.require_source(s, task))
    return Shown(
        "tasks/hook_secret.html",
        {
            "title": f"Webhook of {task}",
            "task_name": task,
            "url": f"{services.settings.url}{PREFIX}/hooks/git/{task}",
            "secret": services.hook_key.secret(task),
        },
    )


def _show(view: View) -> Mapping[str, Any]:
    task = task_of(view)
    return {
        "task": task,
        "source": delivery_views.read_source(view.session, task.name),
    }


FORMS = (
    Form(
        path="/new-task",
        template="tasks/new.html",
        section="tasks",
        title=lambda view: "New task",
        show=lambda view: {"source": None},
        submit=_create,
    ),
    Form(
        path="/tasks/{task}/source",
        template="tasks/source.html",
        section="tasks",
        title=lambda view: f"Source of {view.path['task']}",
        show=_show,
        submit=_set,
    ),
    Form(
        path="/tasks/{task}/source/remove",
        template="tasks/source_remove.html",
        section="tasks",
        title=lambda view: f"Remove the source of {view.path['task']}",
        show=_show,
        submit=_remove,
    ),
    Form(
        path="/tasks/{task}/source/hook",
        template="tasks/hook.html",
        section="tasks",
        title=lambda view: f"Webhook of {view.path['task']}",
        show=_show,
        submit=_hook,
    ),
)
