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
from fedops.core.reasons.releases import server_release
from fedops.processes.log_output import log_to_stderr
from fedops.settings import client_settings

app = options.group("The Client Manager of this device.")


@app.command()
def run(
    folder: Annotated[
        Path,
        typer.Option("--app", metavar="PATH", help="The app's folder, with pyproject.toml."),
    ],
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

    Without --task, the device takes the app's task_id or the only ready task of the server. With --set
    you override what concerns this device alone: [dataset], [resources], [wandb], [xai].
    """
    from fedops.client.manager.start import run_client

    settings = client_settings(home=home, server=server, port=port)
    log_to_stderr()
    run_client(settings, folder, tasks=tasks or [], overrides=overrides or [], echo=_echo)
    show({"home": str(settings.home), "ended": True}, as_json, "The Client Manager has ended.")


@app.command()
def status(home: options.Home = None, as_json: options.Json = False) -> None:
    """Show what the server wants of this device, and what it does."""
    from fedops.client.local.status import client_status

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
