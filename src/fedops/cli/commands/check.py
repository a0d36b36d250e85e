"""``fedops check``: one tiny local round, and what is wrong in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status
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
        float | None,
        typer.Option(
            "--seconds",
            min=1.0,
            help="How long it may take. Default: 600, with a command of its own 1800.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Import the app in a process of its own, train one tiny round and verify what would travel.

    An app with a command of its own is proven instead: the command alone, and as a round. Ends with 1 when
    something is wrong.
    """
    if as_json:
        report = check_project(path, seconds=seconds, program=_PROGRAM)
    else:
        out = console()
        with out.status("one tiny round ...") as status:
            report = check_project(
                path,
                seconds=seconds,
                program=_PROGRAM,
                on_progress=lambda line: _tell(line, out, status),
            )
    show(report, as_json, *_lines(report))
    if not report.ok:
        raise typer.Exit(1)


def _tell(line: str, out: Console, status: Status) -> None:
    """What goes on stands where the last such line stood; what is done stays."""
    if line.endswith("..."):
        status.update(line)
    else:
        out.print(line)


def _lines(report: CheckReport) -> list[str | Table]:
    lines: list[str | Table] = list(report.steps)
    if report.parameters:
        lines.append(_table(report))
    if report.bytes_per_round:
        size = report.bytes_per_round / 1e6
        lines.append(
            f"{size:.2f} MB and about {report.seconds:.1f} s a round; fingerprint "
            f"{report.fingerprint}"
        )
    if report.resumes is not None:
        lines.append(_RESUMES if report.resumes else _BEGINS_AGAIN)
    for step in report.proof:
        lines.append(f"{'shown' if step.ok else 'not shown'}: {step.what} ({step.evidence})")
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"differs: {difference.line()}" for difference in report.differences]
    lines += [f"problem: {problem}" for problem in report.problems]
    return [*lines, report.verdict]


def _table(report: CheckReport) -> Table:
    table = Table("parameter", "shape", "dtype", "travels", box=None)
    for row in report.parameters:
        shape = " x ".join(str(size) for size in row.shape) or "scalar"
        table.add_row(row.name, shape, row.dtype, "yes" if row.federated else "stays local")
    return table
