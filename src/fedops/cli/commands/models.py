"""``fedops model``: the global model versions of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedops.cli import completion, options
from fedops.cli.insight.model_export import add_to_models
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.format import bytes_of, version_name
from fedops.console.model_tables import aliases_table, comparison_view, serving_table
from fedops.console.models import model_fields, models_table
from fedops.core import contracts as c
from fedops.core.errors import Unavailable
from fedops.storage.atomic_files import sha256_of

app = options.group("Global model versions of a task.")

Alias = Annotated[
    str, typer.Option("--alias", metavar="ALIAS", help="Which alias.", callback=options.named)
]


@operator_command(app, "list")
def list_(operator: Operator, task: options.Task) -> None:
    """List the versions of a task's global model."""
    models = operator.client.models(task)
    operator.show(models, models_table(models))


@operator_command(app, "show")
def show_(operator: Operator, task: options.Task, version: options.Version = "latest") -> None:
    """Show one version, with its lineage."""
    model = operator.client.model(task, version)
    operator.show(model, model_fields(model))


@operator_command(app)
def download(
    operator: Operator,
    task: options.Task,
    version: options.Version = "latest",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: TASK-VERSION.safetensors, here."),
    ] = None,
) -> None:
    """Download a version as a safetensors file, checked against its sha256."""
    model = operator.client.model(task, version)
    name = version_name(model.version)
    target = out if out is not None else Path(f"{task}-{name}.safetensors")
    if target.is_dir():
        target = target / f"{task}-{name}.safetensors"
    operator.client.download_model(task, str(model.version), target)
    if sha256_of(target) != model.sha256:
        target.unlink()
        raise Unavailable(f"{name} of {task} arrived damaged (wrong sha256); download it again")
    operator.show(
        {"model": model, "path": str(target)},
        f"{name} of {task}: {target} ({bytes_of(model.size)}, sha256 {model.sha256})",
    )


@operator_command(app)
def promote(
    operator: Operator, task: options.Task, version: options.Version, alias: Alias = "serving"
) -> None:
    """Let an alias name a version, once its file is found intact."""
    model = operator.client.promote_model(task, version, alias)
    operator.show(model, f"{alias} of {task} is {version_name(model.version)}.")


@operator_command(app)
def rollback(operator: Operator, task: options.Task, alias: Alias = "serving") -> None:
    """Take back the last promotion: the alias names the version that it named before."""
    model = operator.client.rollback_alias(task, alias)
    operator.show(model, f"{alias} of {task} is {version_name(model.version)} again.")


@operator_command(app)
def quarantine(
    operator: Operator, task: options.Task, version: options.Version, because: options.Because
) -> None:
    """Take a version out of use: latest passes it over, no run starts from it, no alias is moved to it."""
    model = operator.client.quarantine_model(task, version, because)
    name = version_name(model.version)
    operator.show(model, f"{name} of {task} is quarantined.", *_instead(model))


@operator_command(app)
def release(
    operator: Operator, task: options.Task, version: options.Version, because: options.Because
) -> None:
    """Let a quarantined version be used again."""
    model = operator.client.release_model(task, version, because)
    named = f"; it is {', '.join(model.aliases)}" if model.aliases else ""
    operator.show(model, f"{version_name(model.version)} of {task} may be used again{named}.")


@operator_command(app)
def rebuild(
    operator: Operator,
    task: options.Task,
    version: options.Version,
    without: Annotated[
        str,
        typer.Option(
            "--without",
            metavar="DEVICE",
            help="Whose updates are left out.",
            callback=options.named,
            autocompletion=completion.devices,
        ),
    ],
    last_round: Annotated[
        bool,
        typer.Option("--last-round", help="Of the last round only, though its others stay in."),
    ] = False,
) -> None:
    """Make a version again without a device.

    If its updates are in the last round only, and that round's are kept, the round is aggregated again
    without them, and nobody trains. Otherwise a run starts from the last version without its updates. It
    says which.
    """
    found = operator.client.rebuild_model(task, version, without, last_round)
    run = found.run
    operator.show(
        found,
        f"Run {run.id} of {task} {found.how}.",
        f"Follow it: 'fedops run show {run.id} --follow'.",
    )


@operator_command(app)
def aliases(operator: Operator, task: options.Task) -> None:
    """List a task's aliases, and what they named before."""
    found = operator.client.aliases(task)
    operator.show(found, aliases_table(found))


@operator_command(app)
def serving(operator: Operator, task: options.Task) -> None:
    """List the devices that serve the model: the version that each has, and why it has no other."""
    found = operator.client.serving(task)
    operator.show(found, serving_table(task, found))


@operator_command(app)
def compare(
    operator: Operator,
    task: options.Task,
    first: Annotated[
        str, typer.Argument(metavar="V1", help="A version or alias.", callback=options.version_text)
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="V2", help="Another version or alias.", callback=options.version_text
        ),
    ],
) -> None:
    """Compare two versions: metrics, config, and how far apart each tensor is."""
    found = operator.client.compare_models(task, first, second)
    operator.show(found, *comparison_view(found))


@operator_command(app)
def verify(
    operator: Operator,
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]",
            help="The task's name; default: all tasks.",
            callback=options.named,
            autocompletion=completion.tasks,
        ),
    ] = None,
) -> None:
    """Read every version's file and compare it with its sha256. The exit code is 1 if one is damaged."""
    files = operator.client.verify_models(task)
    bad = [file for file in files if file.problem]
    lines = [f"{version_name(f.version)} of {f.task}: {f.problem} ({f.sha256})" for f in bad]
    good = len(files) - len(bad)
    operator.show(files, *lines, f"{good} of {len(files)} versions are intact.")
    if bad:
        raise typer.Exit(1)


def _instead(model: c.ModelVersionRead) -> list[str]:
    """What still uses a version that is quarantined: nobody moves an alias but a person."""
    name = version_name(model.version)
    return [
        f"{alias} still names {name}: 'fedops model rollback {model.task} --alias {alias}' takes it back."
        for alias in model.aliases
    ]


add_to_models(app)
