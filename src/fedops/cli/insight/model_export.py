"""``fedops model export``: a version as a file that runs without FedOps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.format import bytes_of, version_name
from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.scalize.check.asked_process import ask_process
from fedops.scalize.check.project_check import find_app
from fedops.scalize.export.export_report import ExportQuestion, ExportReport, Format
from fedops.storage.atomic_files import sha256_of

PROGRAM = "fedops.scalize.export.export_process"
Kind = Annotated[Format, typer.Option("--format", help="What is written.")]
App = Annotated[
    Path, typer.Option("--app", metavar="PATH", help="The app that it was trained with.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="Default: TASK-VERSION.onnx or .pt, here."),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        "--input-shape", metavar="N,N,...", help="A random batch in place of the app's data."
    ),
]
Seconds = Annotated[float, typer.Option("--seconds", min=1.0, help="The longest that it may take.")]
_ENDINGS = {"onnx": "onnx", "torchscript": "pt"}
_LATE = "give it more time (--seconds), or a smaller batch (--input-shape)"


def add_to_models(app: typer.Typer) -> None:
    """Add the command."""
    operator_command(app)(export)


def export(
    operator: Operator,
    task: options.Task,
    version: options.Version = "latest",
    kind: Kind = "onnx",
    folder: App = Path("."),
    out: Out = None,
    input_shape: InputShape = None,
    overrides: options.Overrides = None,
    seconds: Seconds = 600.0,
) -> None:
    """Export a version to ONNX or TorchScript, and compare its outputs with the model's own.

    The model is made by the app's model step and takes the version's tensors, in a process of its own. The
    file is written only if its outputs are those of the model, on a batch of the app's data and on a
    single example.
    """
    app_dir = find_app(folder)
    model = operator.client.model(task, version)
    name = f"{task}-{version_name(model.version)}"
    target = _target(out or Path(f"{name}.{_ENDINGS[kind]}"))
    with tempfile.TemporaryDirectory(prefix="fedops-export-") as place:
        weights = Path(place) / "model.safetensors"
        operator.client.download_model(task, str(model.version), weights)
        if sha256_of(weights) != model.sha256:
            raise Unavailable(f"{name} arrived damaged (wrong sha256); export it again")
        question = ExportQuestion(
            app_dir=str(app_dir),
            weights=str(weights),
            format=kind,
            out=str(target),
            input_shape=_shape(input_shape),
            overrides=overrides or [],
        )
        report = exported(question, seconds)
    if not report.ok:
        raise FedOpsError(f"{name} was not exported: {'; '.join(report.problems)}")
    operator.show({"model": model, **report.model_dump(mode="json")}, *_lines(name, report))


def _target(typed: Path) -> Path:
    target = typed.expanduser().resolve()
    if target.is_dir() or not target.parent.is_dir():
        raise Invalid(f"--out {target}: give the name of a file in a folder that exists")
    return target


def exported(question: ExportQuestion, seconds: float) -> ExportReport:
    """What came of an export, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="fedops-export-") as place:
        file = Path(place) / "question.json"
        file.write_text(question.model_dump_json(), encoding="utf-8")
        words = [str(file)]
        report, why = ask_process(PROGRAM, words, seconds, ExportReport, "export", _LATE)
    return report or ExportReport(problems=[why])


def _shape(text: str | None) -> list[int]:
    if text is None:
        return []
    parts = text.split(",")
    if not 1 <= len(parts) <= 8 or not all(p.isdecimal() and 0 < int(p) < 1 << 20 for p in parts):
        raise Invalid(
            f"--input-shape {text}: give the numbers of a whole batch, such as 8,1,28,28 for 8 images"
        )
    return [int(part) for part in parts]


def _lines(name: str, report: ExportReport) -> list[str]:
    difference = 0.0 if report.max_difference is None else report.max_difference
    return [
        f"{name}: {report.path} ({bytes_of(report.size)})",
        *(f"input   {text}" for text in report.inputs),
        *(f"output  {text}" for text in report.outputs),
        f"checked with {report.checked_with} on {report.examples} examples ({report.data}): its outputs"
        f" differ from the model's own by at most {difference:.2g}",
        *(f"note: {note}" for note in report.notes),
    ]
