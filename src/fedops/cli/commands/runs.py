"""``fedops run``: executions of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedops.api_client import OperatorClient
from fedops.cli import options
from fedops.cli.commands.models import version_number
from fedops.cli.connection import operator
from fedops.cli.follow import follow, wait_until
from fedops.cli.logs import stream, write
from fedops.cli.output import show
from fedops.console.format import version_name
from fedops.console.models import explanations_table
from fedops.console.runs import rounds_table, run_fields, runs_table
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, Unavailable
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.storage.atomic_files import sha256_of

app = options.group("Executions of a task.")

Id = Annotated[int, typer.Argument(metavar="RUN", help="The run's number.")]
CurrentApp = Annotated[
    bool,
    typer.Option("--current-app", help="With the task's app as it is now, not as that run had it."),
]
#: A stop or pause is confirmed within ten seconds, or the server goes on without the confirmation.
_STOP_SECONDS = 30.0


@app.command()
def start(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task's name.")],
    overrides: options.Overrides = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="VERSION", help="Start from V0, V3, ...; default: latest."),
    ] = None,
    follow_it: options.Follow = False,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Start a run of a task.

    --set overrides one key of its config for this run only, for example
    --set num_rounds=10 --set server.round.deadline_seconds=60.
    """
    with operator(server, token) as client:
        version = None if from_ is None else version_number(client, task, from_)
        body = options.request(c.RunStart, overrides=overrides or [], from_version=version)
        _show_going(client, client.start_run(task, body), follow_it, as_json)


@app.command("list")
def list_(
    task: Annotated[str | None, typer.Option("--task", help="Only runs of this task.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many.")] = 20,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """List runs, the newest first."""
    with operator(server, token) as client:
        runs = client.runs(task, limit)
    show(runs, as_json, runs_table(runs))


@app.command("show")
def show_(
    run_id: Id,
    follow_it: options.Follow = False,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Show a run and its rounds."""
    with operator(server, token) as client:
        run = follow(client, run_id, quiet=as_json) if follow_it else client.run(run_id)
        rounds = client.rounds(run_id)
    value = {
        **run.model_dump(mode="json"),
        "round_records": [r.model_dump(mode="json") for r in rounds],
    }
    show(value, as_json, run_fields(run), "", rounds_table(rounds))


@app.command()
def why(
    run_id: Id,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Say in one sentence what a run is doing, waiting for, or how it ended."""
    with operator(server, token) as client:
        run = client.run(run_id)
    value = {"run": run.id, "status": run.status, "reason": run.reason, "why": run.why}
    show(value, as_json, f"Run {run.id} is {run.status}. {run.why}")


@app.command()
def logs(
    run_id: Id,
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", help="Only of this device.")
    ] = None,
    round_: Annotated[
        int | None, typer.Option("--round", min=0, help="Only of this round.")
    ] = None,
    source: Annotated[
        c.LogSource | None, typer.Option("--source", help="Only of this program.")
    ] = None,
    follow_it: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run ends.")
    ] = False,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Show what FL server, Client Managers and training clients logged in a run.

    With --follow, --json prints one document a line.
    """
    with operator(server, token) as client:

        def fetch(after: int, limit: int) -> c.LogPage:
            return client.run_logs(
                run_id, device=device, round=round_, source=source, after=after, limit=limit
            )

        def over() -> bool:
            return client.run(run_id).status in RUN_TERMINAL

        write(stream(fetch, over, follow_it), as_json, follow_it)


@app.command()
def checkpoint(
    run_id: Id,
    round_: Annotated[int, typer.Argument(metavar="ROUND", min=1, help="The round's number.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: run-RUN-round-ROUND.safetensors."),
    ] = None,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Download the model that a round made, while it is kept: the newest rounds, and the best."""
    target = out or Path(f"run-{run_id}-round-{round_}.safetensors")
    with operator(server, token) as client:
        client.download_checkpoint(run_id, round_, target)
    value = {"run": run_id, "round": round_, "path": str(target), "sha256": sha256_of(target)}
    show(value, as_json, f"The model of round {round_} of run {run_id}: {target}")


@app.command()
def stop(
    run_id: Id,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Return when every device has stopped.")
    ] = True,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Stop a run. Committed rounds stay."""
    with operator(server, token) as client:
        run = client.stop_run(run_id)
        if wait:
            run = wait_until(client, run_id, RUN_TERMINAL, _STOP_SECONDS)
    if wait and run.status not in RUN_TERMINAL:
        raise Unavailable(f"run {run.id} is still {run.status}: {run.why}")
    show(run, as_json, f"Run {run.id} is {run.status}. {run.why}")


@app.command()
def pause(
    run_id: Id,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Return when every device is quiet.")
    ] = True,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Pause a run. Committed rounds stay; a round that is under way is done again later."""
    resting = {RunStatus.PAUSED, *RUN_TERMINAL}
    with operator(server, token) as client:
        run = client.pause_run(run_id)
        if wait:
            run = wait_until(client, run_id, resting, _STOP_SECONDS)
    if wait and run.status is not RunStatus.PAUSED:
        raise Unavailable(f"run {run.id} is {run.status}, not paused: {run.why}")
    show(run, as_json, f"Run {run.id} is {run.status}. {run.why}")


@app.command()
def resume(
    run_id: Id,
    follow_it: options.Follow = False,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Let a paused run go on from its last committed round."""
    with operator(server, token) as client:
        _show_going(client, client.resume_run(run_id), follow_it, as_json)


@app.command()
def extend(
    run_id: Id,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How many more rounds.")],
    overrides: options.Overrides = None,
    current_app: CurrentApp = False,
    follow_it: options.Follow = False,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Add rounds to a run that is over: a new run that goes on from its last model.

    It has that run's config and app, and its strategy's state as long as the strategy is the same.
    """
    body = options.request(
        c.RunExtend, rounds=rounds, overrides=overrides or [], current_app=current_app
    )
    with operator(server, token) as client:
        _show_going(client, client.extend_run(run_id, body), follow_it, as_json)


@app.command()
def retry(
    run_id: Id,
    overrides: options.Overrides = None,
    current_app: CurrentApp = False,
    follow_it: options.Follow = False,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Do what is left of a run that failed or was stopped: a new run from its last committed round."""
    body = options.request(c.RunRetry, overrides=overrides or [], current_app=current_app)
    with operator(server, token) as client:
        _show_going(client, client.retry_run(run_id, body), follow_it, as_json)


def _show_going(client: OperatorClient, run: c.RunRead, follow_it: bool, as_json: bool) -> None:
    """Show a run that was just begun; followed: once it has ended."""
    if not follow_it:
        show(run, as_json, f"Run {run.id} of {run.task} is {run.status}. {run.why}")
        return
    run = follow(client, run.id, quiet=as_json)
    _require_success(run)
    show(run, as_json, f"Run {run.id} is {run.status}: model {version_name(run.version)}.")


@app.command()
def explanations(
    run_id: Id,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Save the contact sheets that may leave there."),
    ] = None,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Show what devices let the server know of their explanations: scores, drift, alarms.

    Nothing, unless both the task (xai.upload) and the device's owner (device.toml) allow it.
    """
    with operator(server, token) as client:
        found = client.explanations(run_id)
        for one in found if out else ():
            _save_pictures(client, run_id, one, out or Path())
    show(found, as_json, explanations_table(found))


def _save_pictures(client: OperatorClient, run_id: int, one: c.ExplanationRead, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(one.pictures, start=1):
        target = out / f"{one.device}-round-{one.round:04d}-{number}.png"
        client.download_explanation(run_id, one.device, picture, target)


def _require_success(run: c.RunRead) -> None:
    if run.status is RunStatus.FAILED:
        raise FedOpsError(f"run {run.id} failed ({run.reason}): {run.why}")
