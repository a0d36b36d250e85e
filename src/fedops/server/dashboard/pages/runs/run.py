"""A run: what it does and why, and what one can do about it."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.live.page import Page, Panel, event_of_run
from fedops.server.dashboard.pages.runs import run_learning, run_tabs, who_did_what
from fedops.server.dashboard.pages.runs.run_page import moment_of, run_of
from fedops.server.dashboard.pages.runs.times import times
from fedops.server.dashboard.pages.runs.who_did_what import grid_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.pictures.round_list import newest_rounds
from fedops.server.pictures.round_steps import round_steps
from fedops.server.runs import control

_ROUNDS = 20


def head(view: View) -> dict[str, Any]:
    """What it is, why it is so, until when it may be so, and its buttons."""
    run, moment = run_of(view), moment_of(view)
    steps = round_steps(view.session, run.id, moment, view.now)
    return {"run": run, "moment": moment, "steps": steps}


def rounds(view: View) -> dict[str, Any]:
    """Its newest rounds, with who did not deliver, and why."""
    run = run_of(view)
    found = newest_rounds(view.session, run.id, grid_of(view), _ROUNDS)
    return {"rounds": found, "run": run}


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


def _panels(view: View) -> tuple[Panel, ...]:
    cell = (Panel("cell", "run/cell.html", who_did_what.cell),) if "cell" in view.query else ()
    return (
        Panel("head", "run/head.html", head),
        Panel("learning", "run/learning.html", run_learning.learned, on=("round.", "run.")),
        Panel("grid", "run/grid.html", who_did_what.grid),
        *cell,
        Panel("trouble", "run/trouble.html", who_did_what.trouble),
        Panel("times", "run/times.html", times, on=("round.", "run.")),
        Panel("rounds", "run/rounds.html", rounds),
        Panel("tab", "run/tab.html", run_tabs.tab),
    )


PAGES = (
    Page(
        path="/runs/{run_id}",
        template="run/page.html",
        section="runs",
        title=_title,
        panels=_panels,
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
