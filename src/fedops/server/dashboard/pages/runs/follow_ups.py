"""Going on from a run that is over: more rounds, or the rest of its rounds."""

from __future__ import annotations

from fedops.core.contracts import RunExtend, RunRetry
from fedops.server.dashboard.pages.runs.run import head
from fedops.server.dashboard.pages.runs.run_page import run_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.runs import follow_up_runs

_MOST_ROUNDS = 1_000_000


async def _extend(sent: Submission) -> Done:
    """As the API does it: what would be wrong on every device is refused first."""
    parent, services = int(sent.path["run_id"]), sent.services
    body = RunExtend(
        rounds=sent.whole("rounds", 1, _MOST_ROUNDS),
        overrides=sent.lines("overrides"),
        current_app=_with_current_app(sent),
    )
    now = services.clock()
    await services.require_sound(lambda s: follow_up_runs.plan_extension(s, parent, body, now))
    run_id = await services.change(
        lambda s: follow_up_runs.extend(s, parent, body, services.clock())
    )
    return Done(f"/runs/{run_id}", f"Run {run_id} goes on from run {parent}.")


async def _retry(sent: Submission) -> Done:
    """As the API does it: what would be wrong on every device is refused first."""
    parent, services = int(sent.path["run_id"]), sent.services
    body = RunRetry(overrides=sent.lines("overrides"), current_app=_with_current_app(sent))
    now = services.clock()
    await services.require_sound(lambda s: follow_up_runs.plan_retry(s, parent, body, now))
    run_id = await services.change(
        lambda s: follow_up_runs.retry(s, parent, body, services.clock())
    )
    return Done(f"/runs/{run_id}", f"Run {run_id} does the rest of run {parent}.")


def _with_current_app(sent: Submission) -> bool:
    return sent.text("current_app") == "yes"


FORMS = (
    Form(
        path="/runs/{run_id}/extend",
        template="run/extend.html",
        section="runs",
        title=lambda view: f"Extend run {run_of(view).id} of {run_of(view).task}",
        show=head,
        submit=_extend,
    ),
    Form(
        path="/runs/{run_id}/retry",
        template="run/retry.html",
        section="runs",
        title=lambda view: f"Retry run {run_of(view).id} of {run_of(view).task}",
        show=head,
        submit=_retry,
    ),
)
