"""``fedops run``: executions of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fedops.api_client import OperatorClient
from fedops.cli import completion, options
from fedops.cli.beginnings import DryRun, From, Seeds, read_beginning, totals
from fedops.cli.ci.waiting import StopLate, Wait, WaitSeconds, require_wait, start_and_wait
from fedops.cli.commands import run_control
from fedops.cli.commands.events import FollowEvents, Last, show_events
from fedops.cli.commands.run_control import follow_to_success, show_going
from fedops.cli.exports import export_lines, export_runs
from fedops.cli.follow import follow, follow_study
from fedops.cli.insight import scores
from fedops.cli.logs import stream, write
from fedops.cli.operator_command import Operator, operator_command
from fedops.cli.reruns import compare_rerun, plan_rerun
from fedops.cli.summaries import read_summary
from fedops.console.models import explanations_table
from fedops.console.runs import rounds_table, run_fields, run_sentence, runs_table
from fedops.console.studies import forecast_view, study_line, summary_view
from fedops.core import contracts as c
from fedops.core.states import RUN_TERMINAL
from fedops.storage.atomic_files import sha256_of

app = options.group("Executions of a task.")

RunIds = Annotated[list[int] | None, typer.Argument(metavar="RUN...", help="The runs' numbers.")]
Study = Annotated[int | None, typer.Option("--study", metavar="N", help="All runs of this study.")]


@operator_command(app)
def start(
    operator: Operator,
    task: options.Task,
    overrides: options.Overrides = None,
    from_: From = None,
    seeds: Seeds = None,
    devices: options.OnlyDevices = None,
    dry_run: DryRun = False,
    follow_it: options.Follow = False,
    wait: Wait = False,
    timeout: WaitSeconds = None,
    stop_late: StopLate = False,
) -> None:
    """Start a run of a task.

    --set overrides one key of its config for this run only, for example
    --set num_rounds=10 --set server.round.deadline_seconds=60.

    --seeds 5 starts a study: five runs that differ in their seed alone, one after another. The seeds count
    up from the config's random_seed; --seeds 1,2,3 names them. 'fedops run summary' gives mean and spread.
    """
    require_wait(wait, timeout, stop_late, seeds)
    beginning = read_beginning(
        lambda: operator.client, task, from_, seeds, overrides or [], devices or []
    )
    if dry_run:
        forecast, drawn = beginning.forecast(operator.client)
        value = {**forecast.model_dump(mode="json"), "seeds": drawn, **totals(forecast, len(drawn))}
        operator.show(value, forecast_view(forecast, drawn))
    elif wait:
        start_and_wait(operator, beginning, timeout, stop_late)
    elif beginning.seeds is not None:
        _show_study(operator, operator.client.start_study(task, beginning.study), follow_it)
    else:
        show_going(operator, operator.client.start_run(task, beginning.run), follow_it)


def _show_study(operator: Operator, study: c.StudyRead, follow_it: bool) -> None:
    if not follow_it:
        operator.show(study, study_line(study))
        return
    if not operator.as_json:
        typer.echo(study_line(study), err=True)
    follow_study(operator.client, study.id, quiet=operator.as_json)
    summary = read_summary(operator.client, [], study.id)
    operator.show(summary, summary_view(summary))


@operator_command(app)
def summary(
    operator: Operator,
    run_ids: RunIds = None,
    study: Study = None,
) -> None:
    """Show mean and spread of the metrics of several runs of a task.

    A single RUN that belongs to a study stands for all of its runs. Only completed runs count; the others
    are named. STD is the sample's standard deviation.
    """
    found = read_summary(operator.client, run_ids or [], study)
    operator.show(found, summary_view(found))


@operator_command(app, "list")
def list_(
    operator: Operator,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="Only runs of this task.",
            callback=options.named,
            autocompletion=completion.tasks,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many.")] = 20,
) -> None:
    """List runs, the newest first."""
    runs = operator.client.runs(task, limit=limit)
    operator.show(runs, runs_table(runs))


@operator_command(app, "show")
def show_(operator: Operator, run_id: options.RunId, follow_it: options.Follow = False) -> None:
    """Show a run and its rounds."""
    run = (
        follow(operator.client, run_id, quiet=operator.as_json)
        if follow_it
        else operator.client.run(run_id)
    )
    rounds = operator.client.rounds(run_id)
    value = {
        **run.model_dump(mode="json"),
        "round_records": [r.model_dump(mode="json") for r in rounds],
    }
    operator.show(value, run_fields(run), "", rounds_table(rounds))


@operator_command(app)
def why(operator: Operator, run_id: options.RunId) -> None:
    """Say in one sentence what a run is doing or waiting for, or how it ended."""
    run = operator.client.run(run_id)
    value = {"run": run.id, "status": run.status, "reason": run.reason, "why": run.why}
    operator.show(value, run_sentence(run))


@operator_command(app)
def logs(
    operator: Operator,
    run_id: options.RunId,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="DEVICE",
            help="Only of this device.",
            callback=options.named,
            autocompletion=completion.devices,
        ),
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
) -> None:
    """Show what FL server, Client Managers and training clients logged in a run.

    With --follow, --json prints one document per line.
    """

    def fetch(after: int, limit: int) -> c.LogPage:
        return operator.client.run_logs(
            run_id, device=device, round=round_, source=source, after=after, limit=limit
        )

    def over() -> bool:
        return operator.client.run(run_id).status in RUN_TERMINAL

    write(stream(fetch, over, follow_it), operator.as_json, follow_it)


@operator_command(app)
def checkpoint(
    operator: Operator,
    run_id: options.RunId,
    round_: Annotated[int, typer.Argument(metavar="ROUND", min=1, help="The round's number.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: run-RUN-round-ROUND.safetensors."),
    ] = None,
) -> None:
    """Download the model that a round made, while it is kept: the newest rounds, and the best."""
    target = out or Path(f"run-{run_id}-round-{round_}.safetensors")
    operator.client.download_checkpoint(run_id, round_, target)
    value = {"run": run_id, "round": round_, "path": str(target), "sha256": sha256_of(target)}
    operator.show(value, f"The model of round {round_} of run {run_id}: {target}")


@operator_command(app)
def export(
    operator: Operator,
    run_ids: RunIds = None,
    study: Study = None,
    to: Annotated[
        Literal["csv", "parquet"], typer.Option("--to", help="How the tables are written.")
    ] = "csv",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="A folder, or a .zip file; default: run-RUN."),
    ] = None,
) -> None:
    """Write all that is known of runs into a folder or a zip file, for a paper or another program.

    It holds tables (rounds, clients, selections, metrics, models), the config without secrets, and
    manifest.json: versions of libraries, the app's digest, seeds, models with their sha256. 'fedops run
    rerun' starts a run of it once more.
    """
    done = export_runs(operator.client, run_ids or [], study, to, out)
    operator.show(done, *export_lines(done))


@operator_command(app)
def rerun(
    operator: Operator,
    source: Annotated[Path, typer.Argument(metavar="EXPORT", help="A folder or a .zip file.")],
    run_id: Annotated[
        int | None, typer.Option("--run", metavar="RUN", help="Which run, if it holds several.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Default: the run's task.")
    ] = None,
    overrides: options.Overrides = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Start it also if something differs.")
    ] = False,
    follow_it: options.Follow = False,
) -> None:
    """Start a run of an export once more: the same app, config, seed, and model to start from.

    Says first what differs from then, such as versions of libraries, and asks whether to go on. With
    --follow it says at the end whether the model is the same, bit for bit.
    """
    plan = plan_rerun(lambda: operator.client, source, run_id, task, overrides or [])
    for line in plan.differences:
        typer.echo(f"differs: {line}", err=True)
    if plan.differences:
        options.require_agreed(f"Start run {plan.of.run} of the export again, with this?", yes)
    run = operator.client.start_run(plan.task, plan.body)
    if not follow_it:
        show_going(operator, run, follow_it)
        return
    run = follow_to_success(operator, run)
    same, said = compare_rerun(operator.client, plan, run)
    operator.show({**run.model_dump(mode="json"), "same_model": same}, run_sentence(run), said)


# Commands are listed as they are added: in the order of a run's life.
run_control.add_to_runs(app)


@operator_command(app)
def events(
    operator: Operator, run_id: options.RunId, last: Last = 50, follow_it: FollowEvents = False
) -> None:
    """Show what happened in a run, oldest first, and who did it."""
    operator.client.run(run_id)  # or there is none
    show_events(operator, run_id, last, follow_it)


@operator_command(app)
def explanations(
    operator: Operator,
    run_id: options.RunId,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Save the contact sheets that may leave there."),
    ] = None,
) -> None:
    """Show what devices let the server know of their explanations: scores, drift, alarms.

    The server has them only if both the task (xai.upload) and the device's owner (device.toml) allow it.
    """
    found = operator.client.explanations(run_id)
    for one in found if out else ():
        _save_pictures(operator.client, run_id, one, out or Path())
    operator.show(found, explanations_table(found))


def _save_pictures(client: OperatorClient, run_id: int, one: c.ExplanationRead, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(one.pictures, start=1):
        target = out / f"{one.device}-round-{one.round:04d}-{number}.png"
        client.download_explanation(run_id, one.device, picture, target)


scores.add_to_runs(app)
