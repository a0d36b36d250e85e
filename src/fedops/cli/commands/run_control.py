"""``fedops run stop``, ``pause``, ``resume``, ``extend`` and ``retry``: what controls a run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.follow import follow, wait_until
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.runs import run_sentence
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, Unavailable
from fedops.core.states import RUN_TERMINAL, RunStatus

CurrentApp = Annotated[
    bool,
    typer.Option("--current-app", help="With the task's app as it is now, not as that run had it."),
]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Return when every device has stopped.")
]
#: A stop or pause is confirmed within ten seconds, or the server goes on without the confirmation.
_STOP_SECONDS = 30.0


def add_to_runs(app: typer.Typer) -> None:
    """The commands that change a run which has begun."""
    for command in (stop, pause, resume, extend, retry):
        operator_command(app)(command)


def stop(
    operator: Operator,
    run_id: options.RunId,
    wait: Wait = True,
) -> None:
    """Stop a run. Committed rounds stay."""
    _show_resting(operator, operator.client.stop_run(run_id), RUN_TERMINAL, "over", wait)


def pause(
    operator: Operator,
    run_id: options.RunId,
    wait: Wait = True,
) -> None:
    """Pause a run. Committed rounds stay, and so do the updates delivered for the open round."""
    _show_resting(operator, operator.client.pause_run(run_id), {RunStatus.PAUSED}, "paused", wait)


def _show_resting(
    operator: Operator, run: c.RunRead, wanted: Collection[RunStatus], what: str, wait: bool
) -> None:
    """Show a run that was told to stop or pause; waited for: once it is as ``wanted``."""
    if wait:
        run = wait_until(operator.client, run.id, {*wanted, *RUN_TERMINAL}, _STOP_SECONDS)
        if run.status not in wanted:
            raise Unavailable(f"run {run.id} is {run.status}, not {what}: {run.why}")
    operator.show(run, run_sentence(run))


def resume(operator: Operator, run_id: options.RunId, follow_it: options.Follow = False) -> None:
    """Let a paused run continue, with the round that was open when it was paused."""
    show_going(operator, operator.client.resume_run(run_id), follow_it)


def extend(
    operator: Operator,
    run_id: options.RunId,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How many more rounds.")],
    overrides: options.Overrides = None,
    current_app: CurrentApp = False,
    follow_it: options.Follow = False,
) -> None:
    """Add rounds to a run that is over. This makes a new run that continues from its last model.

    The new run has the config and app of that run, and its strategy's state if you keep the strategy.
    """
    body = options.request(
        c.RunExtend, rounds=rounds, overrides=overrides or [], current_app=current_app
    )
    show_going(operator, operator.client.extend_run(run_id, body), follow_it)


def retry(
    operator: Operator,
    run_id: options.RunId,
    overrides: options.Overrides = None,
    current_app: CurrentApp = False,
    follow_it: options.Follow = False,
) -> None:
    """Do what is left of a run that failed or was stopped, in a new run from its last committed round."""
    body = options.request(c.RunRetry, overrides=overrides or [], current_app=current_app)
    show_going(operator, operator.client.retry_run(run_id, body), follow_it)


# --- a run that was just begun --------------------------------------------------


def show_going(operator: Operator, run: c.RunRead, follow_it: bool) -> None:
    """Show a run that was just begun; followed: once it has ended."""
    if not follow_it:
        operator.show(run, f"Run {run.id} of {run.task}: {run.plan}. It is {run.status}: {run.why}")
        return
    run = follow_to_success(operator, run)
    operator.show(run, run_sentence(run))


def follow_to_success(operator: Operator, run: c.RunRead) -> c.RunRead:
    """The run once it has ended; ``FedOpsError`` if it failed."""
    if not operator.as_json:
        typer.echo(f"Run {run.id} of {run.task}: {run.plan}.", err=True)
    run = follow(operator.client, run.id, quiet=operator.as_json)
    _require_success(run)
    return run


def _require_success(run: c.RunRead) -> None:
    if run.status is RunStatus.FAILED:
        raise FedOpsError(run_sentence(run)[:1].lower() + run_sentence(run)[1:])
