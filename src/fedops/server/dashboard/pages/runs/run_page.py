"""The run that a page is about, read once for all of its panels."""

from __future__ import annotations

from fedops.core.contracts import RunRead
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.view import View
from fedops.server.pictures import round_list, run_moments
from fedops.server.pictures.run_moments import RunMoment
from fedops.server.runs import views


def run_of(view: View) -> RunRead:
    """The run."""
    run_id, settings = int(view.path["run_id"]), view.services.settings
    return view.once(
        "run", lambda: views.read_run(view.session, run_id, settings, view.now, view.tasks)
    )


def moment_of(view: View) -> RunMoment:
    """What its engine is doing."""
    run_id, settings = run_of(view).id, view.services.settings
    return view.once("moment", lambda: run_moments.run_moment(view.session, run_id, settings))


def rounds_stamp(view: View) -> object:
    """Another one whenever its rounds are, or what has become of it."""
    run = run_of(view)
    so_far = view.once("so far", lambda: round_list.rounds_so_far(view.session, run.id))
    return so_far, run.status, run.version


def here(view: View, **changes: object) -> str:
    """This page with its address changed in these points; None: not said any more."""
    return address(f"/runs/{view.path['run_id']}", view.query, **changes)
