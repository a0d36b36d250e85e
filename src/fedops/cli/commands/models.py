"""``fedops model``: the global model versions of a task."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fedops.api_client import OperatorClient
from fedops.cli import options
from fedops.cli.connection import operator
from fedops.cli.model_tables import aliases_table, comparison_view
from fedops.cli.output import show
from fedops.console.format import bytes_of, version_name
from fedops.console.models import model_fields, models_table
from fedops.core.errors import Invalid, Unavailable
from fedops.storage.atomic_files import sha256_of

app = options.group("Global model versions of a task.")

Task = Annotated[str, typer.Argument(metavar="TASK", help="The task's name.")]
Version = Annotated[
    str, typer.Argument(metavar="VERSION", help="V3, 3, or an alias such as latest.")
]
Alias = Annotated[str, typer.Option("--alias", metavar="ALIAS", help="Which alias.")]


@app.command("list")
def list_(
    task: Task,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """List the versions of a task's global model."""
    with operator(server, token) as client:
        models = client.models(task)
    show(models, as_json, models_table(models))


@app.command("show")
def show_(
    task: Task,
    version: Version = "latest",
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Show one version, with its lineage."""
    with operator(server, token) as client:
        model = client.model(task, version)
    show(model, as_json, model_fields(model))


@app.command()
def download(
    task: Task,
    version: Version = "latest",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: TASK-VERSION.safetensors, here."),
    ] = None,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Download a version as a safetensors file, checked against its sha256."""
    with operator(server, token) as client:
        model = client.model(task, version)
        name = version_name(model.version)
        target = out if out is not None else Path(f"{task}-{name}.safetensors")
        if target.is_dir():
            target = target / f"{task}-{name}.safetensors"
        client.download_model(task, str(model.version), target)
    if sha256_of(target) != model.sha256:
        target.unlink()
        raise Unavailable(f"{name} of {task} arrived damaged (wrong sha256); download it again")
    show(
        {"model": model, "path": str(target)},
        as_json,
        f"{name} of {task}: {target} ({bytes_of(model.size)}, sha256 {model.sha256})",
    )


@app.command()
def promote(
    task: Task,
    version: Version,
    alias: Alias = "serving",
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Let an alias name a version, once its file is found intact."""
    with operator(server, token) as client:
        model = client.promote_model(task, version, alias)
    show(model, as_json, f"{alias} of {task} is {version_name(model.version)}.")


@app.command()
def rollback(
    task: Task,
    alias: Alias = "serving",
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Take back the last promotion: the alias names the version that it named before."""
    with operator(server, token) as client:
        model = client.rollback_alias(task, alias)
    show(model, as_json, f"{alias} of {task} is {version_name(model.version)} again.")


@app.command()
def aliases(
    task: Task,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """List a task's aliases, and what they named before."""
    with operator(server, token) as client:
        found = client.aliases(task)
    show(found, as_json, aliases_table(found))


@app.command()
def compare(
    task: Task,
    first: Annotated[str, typer.Argument(metavar="V1", help="A version or alias.")],
    second: Annotated[str, typer.Argument(metavar="V2", help="Another.")],
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Compare two versions: metrics, config, and how far apart each tensor is."""
    with operator(server, token) as client:
        found = client.compare_models(task, first, second)
    show(found, as_json, *comparison_view(found))


@app.command()
def verify(
    task: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="The task's name; default: all tasks.")
    ] = None,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Read every version's file and compare it with its sha256. The exit code is 1 if one is damaged."""
    with operator(server, token) as client:
        files = client.verify_models(task)
    bad = [file for file in files if file.problem]
    lines = [f"{version_name(f.version)} of {f.task}: {f.problem} ({f.sha256})" for f in bad]
    good = len(files) - len(bad)
    show(files, as_json, *lines, f"{good} of {len(files)} versions are intact.")
    if bad:
        raise typer.Exit(1)


def version_number(client: OperatorClient, task: str, version: str) -> int:
    """The number that ``V3``, ``3`` or an alias stands for."""
    match = re.fullmatch(r"[vV]?(\d{1,9})", version)
    if match:
        return int(match[1])
    if not re.fullmatch(r"[a-z][a-z0-9-]*", version):
        raise Invalid(f"'{version}' is no model version; write V3, 3 or an alias such as latest")
    return client.model(task, version).version
