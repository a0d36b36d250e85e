"""``fedops ci``: whether an app can be trained federatedly, for a machine that tests every commit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fedops.cli import options
from fedops.cli.ci.annotations import error_lines, is_wanted
from fedops.cli.ci.junit import write_junit
from fedops.cli.output import console, show
from fedops.flower.trial.ci_run import CiReport, run_ci
from fedops.flower.trial.trial_report import TrialQuestion, TrialReport

app = options.single()


@app.command()
def ci(
    path: Annotated[Path, typer.Argument(help="The app's folder, or the project's.")] = Path("."),
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How many rounds.")] = 2,
    clients: Annotated[
        int | None,
        typer.Option(
            "--clients", min=2, help="How many clients; default: 2, or what the strategy needs."
        ),
    ] = None,
    examples: Annotated[
        int,
        typer.Option("--examples", min=0, help="Examples a client uses at most; 0: all it has."),
    ] = 1_000,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="How long it may take in all.")
    ] = 600.0,
    overrides: options.Overrides = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit file as well.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check an app, then train it with two clients in one process: no server, no Ray.

    Each client has its own part of the app's data; the app's strategy makes the models, and the last one is
    evaluated. Ends with 1 when something is wrong. In GitHub Actions each problem is also an annotation.
    """
    question = TrialQuestion(
        app_dir="", rounds=rounds, clients=clients, examples=examples, overrides=overrides or []
    )
    if as_json:
        report = run_ci(path, question, seconds)
    else:
        with console().status("the check, then a small federation ..."):
            report = run_ci(path, question, seconds)
    if junit is not None:
        write_junit(report, junit)
    if is_wanted(os.environ):
        for line in error_lines(report, Path(os.environ.get("GITHUB_WORKSPACE") or ".")):
            sys.stdout.write(f"{line}\n")
    show(report, as_json, *_lines(report))
    if not report.ok:
        raise typer.Exit(1)


def _lines(report: CiReport) -> list[str | Table]:
    check, played = report.check, report.simulation
    size = f"{check.bytes_per_round / 1e6:.2f} MB"
    # An app of plain Flower keeps its model to itself.
    model = f", {size} a round, fingerprint {check.fingerprint}" if check.fingerprint else ""
    lines: list[str | Table] = [f"check: {f'ok{model}' if check.ok else 'failed'}"]
    if played is not None:
        lines += _simulation(played)
    notes = [*check.notes, *(played.notes if played else [])]
    lines += [f"note: {note}" for note in notes]
    lines += [f"differs: {difference.line()}" for difference in check.differences]
    lines += [f"problem: {problem}" for problem in report.problems]
    ending = check.verdict if report.ok else "this app is not ready to be federated"
    return [*lines, f"{ending} ({report.seconds:.1f} s)"]


def _simulation(played: TrialReport) -> list[str | Table]:
    if not played.rounds:
        return [f"simulation: {'ok' if played.ok else 'failed'}"]
    head = f"simulation: {played.clients} clients, {len(played.rounds)} rounds, {played.strategy}"
    table = Table("round", "client", "examples", "metrics", box=None)
    for round_ in played.rounds:
        for client in round_.clients:
            shown = client.lost or _numbers(client.metrics)
            table.add_row(str(round_.round), client.client, str(client.examples), shown)
    for client in played.final:
        table.add_row("final", client.client, str(client.examples), _numbers(client.metrics))
    return [head, table, f"the aggregated model: {_numbers(played.metrics)}"]


def _numbers(metrics: dict[str, float]) -> str:
    return (
        ", ".join(f"{name} {value:.4f}" for name, value in sorted(metrics.items())) or "no metrics"
    )
