"""``fedops client``: the Client Manager of this device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedops import __version__
from fedops.cli import options
from fedops.cli.output import show
from fedops.console.devices import (
    examples,
    process_word,
    readiness_lines,
    refusal_line,
    trains_on,
)
from fedops.console.format import coloured, fields
from fedops.core.errors import Conflict, Invalid
from fedops.core.reasons.releases import server_release
from fedops.processes.log_output import log_to_stderr
from fedops.settings import client_settings

app = options.group("The Client Manager of this device.")


@app.command()
def run(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--app",
            metavar="PATH",
            help="The app's folder, with pyproject.toml; default: the code comes from the server.",
        ),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="NAME", help="A task to take part in; may be repeated."),
    ] = None,
    overrides: options.Overrides = None,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="Where the server is, if it has moved."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", help="Local port; default: 8004, or the next that is free."),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Take part in tasks, until Ctrl-C: keep in touch with the server and supervise training.

    Without --app, the server says which commit of the task's code runs here, and this device keeps to it; it
    then takes part in one task. Without --task, the device takes the app's task_id or the only ready task of
    the server.

    --set is for this device alone: [dataset], [resources], [wandb], [xai].
    """
    from fedops.client.manager.start import run_client

    settings = client_settings(home=home, server=server, port=port)
    log_to_stderr(form=settings.log_format)
    run_client(settings, folder, tasks=tasks or [], overrides=overrides or [], echo=_echo)
    show({"home": str(settings.home), "ended": True}, as_json, "The Client Manager has ended.")


@app.command()
def status(home: options.Home = None, as_json: options.Json = False) -> None:
    """Show what the server wants of this device, and what it does."""
    from fedops.client.local.deployment_text import deployment_rows
    from fedops.client.local.status import client_status
    from fedops.client.local.status_text import serving_text

    found = client_status(client_settings(home=home).home)
    server, process = found.server, found.process
    way = f" through the proxy {server.proxy}" if server.proxy else ""
    reached = {True: "reached", False: "out of reach", None: "not reached yet"}[server.reachable]
    human = fields(
        {
            "device": found.device,
            "why": found.why,
            "server": f"{server.url}{way}, {reached} {server.problem}".rstrip(),
            "server's FedOps": server_release(server.fedops, __version__),
            "it wants": ", ".join(f"run {run_id}" for run_id in server.runs) or "nothing now",
            "enrolment": server.enrolment,
            "tasks": ", ".join(found.tasks),
            "works on": "; ".join(
                f"{held.kind} of '{held.task}': {held.doing}" for held in found.held
            ),
            **deployment_rows(found.deployment),
            "serves": serving_text(found.serving),
            "process": coloured(process_word(process)),
            "readiness": readiness_lines(process),
            "last refusal": refusal_line(process),
            "run": process.run_id,
            "round": process.round,
            "restarts": process.restarts,
            "trains on": trains_on(process),
            "data": examples(process),
            "app's code": process.confined,
            "spool": f"{found.spool_records} records wait, {found.spool_dropped} were dropped",
            "home": found.home,
        }
    )
    show(found, as_json, human)


@app.command()
def stop(home: options.Home = None, as_json: options.Json = False) -> None:
    """End the Client Manager of this device, and its training client."""
    from fedops.client.local.status import stop_client

    place = client_settings(home=home).home
    stop_client(place)
    show({"home": str(place), "stopping": True}, as_json, "The Client Manager is ending.")


@app.command()
def restart(home: options.Home = None, as_json: options.Json = False) -> None:
    """Start the training client anew, even if it was given up."""
    from fedops.client.local.status import restart_training

    place = client_settings(home=home).home
    restart_training(place)
    show({"home": str(place), "restarting": True}, as_json, "The training client is restarting.")


@app.command()
def approve(
    commit: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMIT", help="Default: the one that waits, once you have seen it."
        ),
    ] = None,
    sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Allow new code to run on this device: for owners who set approve = true in device.toml.

    Without COMMIT you see first what would run, and what is different from what runs now.
    """
    from fedops.client.local.deployment_text import awaited_text
    from fedops.client.local.status import approve_commit, awaited_commit

    place = client_settings(home=home).home
    if commit is None:
        waiting = awaited_commit(place)
        commit = waiting.commit
        sys.stderr.write(f"{awaited_text(waiting)}\n")
        options.require_agreed(f"Let commit {commit[:12]} run on this device?", sure)
    approve_commit(place, commit)
    show({"commit": commit, "approved": True}, as_json, f"Commit {commit[:12]} may run here.")


@app.command()
def serving(
    back: Annotated[
        bool, typer.Option("--back", help="Put the version before back, and keep it for now.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Take the newest version after all, after --back.")
    ] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show which version of the model your own programs on this device get, and how that goes.

    With --back, the file of the version before is put in place again and your command is run. It stays
    until the server wants yet another version, or until --again.
    """
    from fedops.client.local.status import client_status, decide_serving
    from fedops.client.local.status_text import serving_text

    if back and again:
        raise Invalid("--back and --again are opposites: give one of them")
    place = client_settings(home=home).home
    if back or again:
        decide_serving(place, "back" if back else "again")
        text = "The version before is put back." if back else "The newest version is taken again."
        show({"home": str(place), "back": back, "again": again}, as_json, text)
        return
    found = client_status(place)
    if not found.running:
        raise Conflict(f"no Client Manager runs on {place}")
    nothing = "No model is served here: write a folder into [serving] of device.toml."
    show({"serving": found.serving}, as_json, serving_text(found.serving) or nothing)


@app.command()
def upgrade(home: options.Home = None, as_json: options.Json = False) -> None:
    """Install the server's release of FedOps on this device, and start the Client Manager anew.

    The release comes from the server (URL/simple/), whose certificate is checked as always. It must start and
    reach the server within a minute; otherwise the release before is put back.
    """
    from fedops.client.upgrade.upgrade import upgrade as upgrade_device

    done = upgrade_device(client_settings(home=home))
    value = {"before": done.before, "now": done.now, "restarting": done.restarting}
    show(value, as_json, f"{done.message[:1].upper()}{done.message[1:]}.")


@app.command()
def evaluate(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="V7, 7, or an alias such as latest.")
    ],
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="NAME", help="Default: the task it takes part in."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--app", metavar="PATH", help="The app; default: the Client Manager's."),
    ] = None,
    overrides: options.Overrides = None,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="Where the server is, if it has moved."),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Evaluate a model version on this device's own validation data. The report stays on this device.

    The app, its overrides and the device's part of the data are those of the Client Manager, which may
    run meanwhile. The server is asked for the model and told nothing.
    """
    from fedops.client.evaluation.evaluate import evaluate_version, report_text

    settings = client_settings(home=home, server=server)
    report = evaluate_version(
        settings, version, task=task, app_dir=folder, overrides=overrides or []
    )
    show(report, as_json, report_text(report))


def _echo(line: str) -> None:
    sys.stderr.write(f"training client | {line}\n")
