"""A run: what it does and why, and what one can do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedops.server.dashboard.live.page import Data, Page, Panel, event_of_run
from fedops.server.dashboard.pages.runs import run_learning, run_tabs, who_did_what
from fedops.server.dashboard.pages.runs.run_page import moment_of, rounds_stamp, run_of
from fedops.server.dashboard.pages.runs.times import times
from fedops.server.dashboard.pages.runs.who_did_what import grid_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.database.database import ReadSession
from fedops.server.pictures.round_list import newest_rounds
from fedops.server.pictures.round_steps import round_steps
from fedops.server.runs import control
from fedops.server.services.services import Services

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


def _of_rounds(name: str, read: Callable[[View], Data]) -> Panel:
    """A panel of what its rounds brought. What its clients do in the open one, the sweep sees."""
    return Panel(name, f"run/{name}.html", read, on=("round.", "run."), stamp=rounds_stamp)


def _panels(view: View) -> tuple[Panel, ...]:
    cell = (Panel("cell", "run/cell.html", who_did_what.cell),) if "cell" in view.query else ()
    return (
        Panel("head", "run/head.html", head),
        _of_rounds("learning", run_learning.learned),
        _of_rounds("grid", who_did_what.grid),
        *cell,
        _of_rounds("trouble", who_did_what.trouble),
        _of_rounds("times", times),
        _of_rounds("rounds", rounds),
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
_Control = Callable[[ReadSession, int, Services], None]


def _form(verb: str, said: str, control_run: _Control) -> Form:
    """A form that changes how a run goes on. ``said``: what is told once that was asked for."""

    async def submit(sent: Submission) -> Done:
        run_id, services = int(sent.path["run_id"]), sent.services
        await services.change(lambda session: control_run(session, run_id, services))
        return Done(f"/runs/{run_id}", f"Run {run_id} {said}.")

    return Form(
        path=f"/runs/{{run_id}}/{verb}",
        template=f"run/{verb}.html",
        section="runs",
        title=lambda view: f"{verb.capitalize()} {_title(view)}",
        show=head,
        submit=submit,
    )


FORMS = (
    _form(
        "stop",
        "is being stopped",
        lambda s, run_id, by: control.request_stop(s, run_id, by.settings, by.clock()),
    ),
    _form(
        "pause",
        "is being paused",
        lambda s, run_id, by: control.request_pause(s, run_id, by.settings, by.clock()),
    ),
    _form(
        "resume",
        "goes on",
        lambda s, run_id, by: control.request_resume(s, run_id, by.clock()),
    ),
)
