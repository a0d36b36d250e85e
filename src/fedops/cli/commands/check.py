"""``fedops check``: one tiny local round, and what is wrong in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fedops.cli import options
from fedops.cli.output import console, show
from fedops.scalize.check.project_check import CheckReport, check_project

app = options.single()
_PROGRAM = "fedops.flower.trial.check_program"
_RESUMES = "interrupted, a training goes on from its last epoch"
_BEGINS_AGAIN = (
    "interrupted, a training begins its round's work again: only the default loops of PyTorch and "
    "Transformers go on from their last epoch"
)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The app's folder, or the project's.")] = Path("."),
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="How long the tiny round may take.")
    ] = 600.0,
    as_json: options.Json = False,
) -> None:
    """Import the app in a process of its own, train one tiny round and verify what would travel.

    Ends with 1 when something is wrong.
    """
    if as_json:
        report = check_project(path, seconds=seconds, program=_PROGRAM)
    else:
        with console().status("one tiny round ..."):
            report = check_project(path, seconds=seconds, program=_PROGRAM)
    show(report, as_json, *_lines(report))
    if not report.ok:
        raise typer.Exit(1)


def _lines(report: CheckReport) -> list[str | Table]:
    lines: list[str | Table] = list(report.steps)
    if report.parameters:
        lines.append(_table(report))
        size = report.bytes_per_round / 1e6
        lines.append(
            f"{size:.2f} MB and about {report.seconds:.1f} s a round; fingerprint "
            f"{report.fingerprint}"
        )
    if report.resumes is not None:
        lines.append(_RESUMES if report.resumes else _BEGINS_AGAIN)
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"problem: {problem}" for problem in report.problems]
    return [*lines, "all is well" if report.ok else "this app cannot be federated yet"]


def _table(report: CheckReport) -> Table:
    table = Table("parameter", "shape", "dtype", "travels", box=None)
    for row in report.parameters:
        shape = " x ".join(str(size) for size in row.shape) or "scalar"
        table.add_row(row.name, shape, row.dtype, "yes" if row.federated else "stays local")
    return table
