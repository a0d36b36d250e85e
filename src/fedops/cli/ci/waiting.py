"""``fedops run start --wait``: for a CI job, which wants an exit code and a line now and then."""

from __future__ import annotations

from typing import Annotated

import typer

from fedops.cli.beginnings import Beginning
from fedops.cli.operator_command import Operator
from fedops.console.format import version_name
from fedops.console.runs import run_sentence
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.run_waiting import RunResult, start_run, wait_for_run

Wait = Annotated[
    bool, typer.Option("--wait", help="Return when it has ended: with 1 if it made no model.")
]
WaitSeconds = Annotated[
    float | None, typer.Option("--timeout", min=1.0, help="With --wait: so many seconds at most.")
]
StopLate = Annotated[
    bool, typer.Option("--stop-on-timeout", help="With --timeout: stop a run that is late.")
]


def require_wait(wait: bool, timeout: float | None, stop_late: bool, seeds: str | None) -> None:
    """``Invalid`` for options that would have no effect."""
    if not wait and (timeout is not None or stop_late):
        raise Invalid("--timeout and --stop-on-timeout need --wait")
    if stop_late and timeout is None:
        raise Invalid("--stop-on-timeout needs --timeout SECONDS")
    if wait and seeds is not None:
        raise Invalid("--wait waits for one run; follow a study (--seeds) with --follow")


def start_and_wait(
    operator: Operator, beginning: Beginning, timeout: float | None, stop: bool
) -> None:
    """Start a run, wait for its end and show how it ended.

    Raises:
        RunEnded: it failed, was stopped, or did not end in time.
    """
    run = start_run(operator.client, beginning.task, beginning.run)
    typer.echo(f"Run {run.id} of {run.task}: {run.plan}.", err=True)
    result = wait_for_run(
        operator.client, run.id, timeout=timeout, on_progress=_say, stop_on_timeout=stop
    )
    operator.show(result.run, _sentence(result))


def _say(run: c.RunRead) -> None:
    typer.echo(f"{run.committed_rounds} of {run.rounds} rounds: {run_sentence(run)}", err=True)


def _sentence(result: RunResult) -> str:
    sentence = run_sentence(result.run)
    if result.quarantine and result.version is not None:
        sentence += f". {version_name(result.version)} is quarantined: {result.quarantine}"
    return sentence
