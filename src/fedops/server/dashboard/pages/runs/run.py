"""A run: what it does and why, and what one can do about it."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.live.page import Page, Panel, event_of_run
from fedops.server.dashboard.pages.runs import run_learning, run_tabs
from fedops.server.dashboard.pages.runs.named_run import run_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.runs import control, views

_ROUNDS = 20


def head(view: View) -> dict[str, Any]:
    """What it is, why it is so, and its buttons."""
    return {"run": run_of(view)}


def rounds(view: View) -> dict[str, Any]:
    """Its newest rounds, with who did not deliver, and why."""
    run = run_of(view)
    found = views.read_rounds(view.session, run.id, max(run.committed_rounds - _ROUNDS, 0))
    return {"rounds": list(reversed(found))[:_ROUNDS], "run": run}


def _title(view: View) -> str:
    run = run_of(view)
    return f"Run {run.id} of {run.task}"


async def _stop(sent: Submission) -> Done:
    run_id, services = int(sent.path["run_id"]), sent.services
    await services.change(
        lambda s: control.request_stop(s, run_id, services.settings, services.clock())
    )
    return Done(f"/runs/{run_id}", f"Run {run_id} is being stopped.")


async def _pause(sent: Submission) -> Done:
    run_id, services = int(sent.path["run_id"]), sent.services
    await services.change(
        lambda s: control.request_pause(s, run_id, services.settings, services.clock())
    )
    return Done(f"/runs/{run_id}", f"Run {run_id} is being paused.")


async def _resume(sent: Submission) -> Done:
    run_id, services = int(sent.path["run_id"]), sent.services
    await services.change(lambda s: control.request_resume(s, run_id, services.clock()))
    return Done(f"/runs/{run_id}", f"Run {run_id} goes on.")


PAGES = (
    Page(
        path="/runs/{run_id}",
        template="run/page.html",
        section="runs",
        title=_title,
        panels=lambda view: (
            Panel("head", "run/head.html", head),
            Panel("learning", "run/learning.html", run_learning.learned, on=("round.", "run.")),
            Panel("rounds", "run/rounds.html", rounds),
            Panel("tab", "run/tab.html", run_tabs.tab),
        ),
        concerns=event_of_run,
    ),
)
FORMS = (
    Form(
        path="/runs/{run_id}/stop",
        template="run/stop.html",
        section="runs",
        title=lambda view: f"Stop {_title(view)}",
        show=head,
        submit=_stop,
    ),
    Form(
        path="/runs/{run_id}/pause",
        template="run/pause.html",
        section="runs",
        title=lambda view: f"Pause {_title(view)}",
        show=head,
        submit=_pause,
    ),
    Form(
        path="/runs/{run_id}/resume",
        template="run/resume.html",
        section="runs",
        title=lambda view: f"Resume {_title(view)}",
        show=head,
        submit=_resume,
    ),
)
