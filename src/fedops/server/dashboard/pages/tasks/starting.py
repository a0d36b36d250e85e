"""Starting a run of a task: what it would be is shown first."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import RunStart
from fedops.core.errors import FedOpsError
from fedops.server.dashboard.pages.tasks.task_page import task_of
from fedops.server.dashboard.web.forms import Done, Form, Shown, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.database.database import ReadSession
from fedops.server.models import versions
from fedops.server.runs import control, forecasts
from fedops.server.tasks import tasks

_MOST_ROUNDS, _VERSIONS = 1_000_000, 50
NEW = "new"


def show(view: View) -> dict[str, Any]:
    """The task, what a run can start from, and what a run with nothing changed would be."""
    task = task_of(view)
    found = forecast = None
    try:
        forecast = forecasts.forecast_run(view.session, task.name, RunStart(), view.now)
    except FedOpsError as error:  # the form is shown all the same: another run may be possible
        found = error.message
    return {
        "task": task,
        "starts": _starts(view.session, task.name),
        "forecast": forecast,
        "cannot": found or "",
    }


def _starts(session: ReadSession, task: str) -> list[int]:
    """The versions that a run may start from, the newest first."""
    found = versions.list_versions(session, task, newest=_VERSIONS)
    return [one.version for one in reversed(found) if one.quarantine is None]


async def _start(sent: Submission) -> Done | Shown:
    """As the API does it: what would be wrong on every device is refused first."""
    task, services, body = sent.path["task"], sent.services, _asked(sent)
    now = services.clock()
    if sent.text("what") == "forecast":
        await services.require_sound(lambda s: forecasts.plan_forecast(s, task, body, now))
        return await services.look(lambda s: _forecast(s, sent, task, body))
    await services.require_sound(lambda s: control.plan_run(s, task, body, now))
    run_id = await services.change(lambda s: control.start_run(s, task, body, services.clock()))
    return Done(f"/runs/{run_id}", f"Run {run_id} of {task} has begun.")


def _asked(sent: Submission) -> RunStart:
    begin = sent.text("begin")
    return RunStart(
        overrides=_overrides(sent),
        new_model=begin == NEW,
        from_version=sent.whole("begin", 0, 10**9) if begin not in ("", NEW) else None,
        devices=sent.words("devices"),
    )


def _overrides(sent: Submission) -> list[str]:
    lines = sent.lines("overrides")
    if sent.text("rounds"):
        lines.append(f"num_rounds={sent.whole('rounds', 1, _MOST_ROUNDS)}")
    return lines


def _forecast(session: ReadSession, sent: Submission, task: str, body: RunStart) -> Shown:
    """The form again, with what such a run would be. Nothing is started."""
    data = {
        "task": tasks.read_task(session, task),
        "starts": _starts(session, task),
        "forecast": forecasts.forecast_run(session, task, body, sent.services.clock()),
        "cannot": "",
    }
    typed = {name: values[-1] for name, values in sent.fields.items()}
    around = {"title": f"Start a run of {task}", "problem": "", "typed": typed}
    return Shown("tasks/start.html", {**data, **around})


FORMS = (
    Form(
        path="/tasks/{task}/runs",
        template="tasks/start.html",
        section="tasks",
        title=lambda view: f"Start a run of {view.path['task']}",
        show=show,
        submit=_start,
    ),
)
