"""``fedops task``: what is to be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.delivery import rollouts
from fedops.cli.delivery.source_options import Git, Poll, Ref, Subfolder, TypedSource
from fedops.cli.delivery.task_sources import add_to_tasks as add_sources
from fedops.cli.delivery.task_sources import wait_for_app
from fedops.cli.insight import scores
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.tasks import task_fields, tasks_table
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.core.states import TaskStatus

app = options.group("What is to be learned: an app, its config, its devices and its runs.")

App = Annotated[
    Path | None,
    typer.Option("--app", metavar="PATH", help="The app's folder, the one with pyproject.toml."),
]
Description = Annotated[str | None, typer.Option("--description", help="One line about it.")]


@operator_command(app)
def create(
    operator: Operator,
    name: options.TaskName,
    folder: App = None,
    git: Git = None,
    ref: Ref = None,
    subfolder: Subfolder = None,
    poll: Poll = None,
    overrides: options.Overrides = None,
    description: Description = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="With --git: wait until the task is ready.")
    ] = True,
) -> None:
    """Make a task from an app's folder, which is packed and uploaded, or from a Git repository."""
    typed = TypedSource(git, None, ref, subfolder, poll)
    if (folder is None) == (git is None) or (folder is not None and typed.is_partly_given):
        raise Invalid(
            "give the app's folder (--app PATH), or a repository (--git URL, with --ref ...)"
        )
    body = options.request(
        c.TaskCreate,
        name=name,
        bundle=upload(operator, folder) if folder is not None else None,
        source=typed.request() if folder is None else None,
        overrides=overrides or [],
        description=description or "",
    )
    task = operator.client.create_task(body)
    if folder is None:
        _show_from_git(operator, wait_for_app(operator, name) if wait else task)
        return
    operator.show(
        task,
        f"Task {task.name} is {task.status}. Devices take part with\n"
        f"  fedops client run --app {folder} --task {task.name}\n"
        f"and it starts with\n  fedops run start {task.name}",
    )


def _show_from_git(operator: Operator, task: c.TaskRead) -> None:
    if task.status is TaskStatus.DRAFT:
        operator.show(task, f"Task {task.name} is a draft: {task.why}.")
        return
    operator.show(
        task,
        f"Task {task.name} is {task.status}. The server follows its source and checks each new commit\n"
        f"  fedops task commits {task.name}\nand a run starts with\n  fedops run start {task.name}",
    )


@operator_command(app, "list")
def list_(operator: Operator) -> None:
    """List the tasks."""
    tasks = operator.client.tasks()
    operator.show(tasks, tasks_table(tasks))


@operator_command(app, "show")
def show_(operator: Operator, name: options.TaskName) -> None:
    """Show one task, with its config."""
    task = operator.client.task(name)
    operator.show(task, task_fields(task), "", config_lines(task.config))


@operator_command(app)
def update(
    operator: Operator,
    name: options.TaskName,
    folder: Annotated[
        Path | None,
        typer.Option("--app", metavar="PATH", help="A new version of the app's folder."),
    ] = None,
    overrides: options.Overrides = None,
    description: Description = None,
) -> None:
    """Change a task. Runs that exist keep what they started with."""
    if folder is None and overrides is None and description is None:
        raise Invalid("nothing to update: give --app, --set or --description")
    bundle = upload(operator, folder) if folder is not None else None
    body = options.request(
        c.TaskUpdate, bundle=bundle, overrides=overrides, description=description
    )
    task = operator.client.update_task(name, body)
    operator.show(task, f"Task {task.name} is updated.")


@operator_command(app)
def archive(operator: Operator, name: options.TaskName) -> None:
    """Put a task away. Its runs and models stay readable."""
    task = operator.client.archive_task(name)
    operator.show(task, f"Task {task.name} is {task.status}.")


@operator_command(app)
def unarchive(operator: Operator, name: options.TaskName) -> None:
    """Take an archived task out again: it takes runs and devices as before."""
    task = operator.client.unarchive_task(name)
    operator.show(task, f"Task {task.name} is {task.status}.")


def upload(operator: Operator, folder: Path) -> str:
    """Pack an app's folder, then look for the server and upload it; returns the bundle's sha256."""
    from fedops.flower.app_bundle import PackedApp  # Flower takes a second to import

    packed = PackedApp.of(folder)
    return packed.upload(operator.client)


def config_lines(config: dict[str, object], prefix: str = "") -> str:
    """The config as dotted keys, the way --set takes them."""
    lines: list[str] = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            lines.append(config_lines(value, f"{prefix}{key}."))
        elif value is not None:
            lines.append(f"{prefix}{key} = {value}")
    return "\n".join(lines)


add_sources(app)
rollouts.add_to_tasks(app)
scores.add_to_tasks(app)
