"""``fedops task source``, ``look`` and ``commits``: the code of a task in Git."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.delivery.source_options import (
    Folder,
    Git,
    Policy,
    Poll,
    Ref,
    Subfolder,
    TypedSource,
)
from fedops.cli.follow import INTERVAL, outlasting
from fedops.cli.operator_command import Operator, operator_command
from fedops.cli.output import console
from fedops.cli.plain_help import Commands
from fedops.console.commits import commits_table, source_fields
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.core.states import TaskStatus


def add_to_tasks(app: Commands) -> None:
    """Make the commands a part of ``fedops task``."""
    operator_command(app)(source)
    operator_command(app)(look)
    operator_command(app)(commits)


def source(
    operator: Operator,
    name: options.TaskName,
    git: Git = None,
    folder: Folder = None,
    ref: Ref = None,
    subfolder: Subfolder = None,
    poll: Poll = None,
    policy: Policy = None,
    show_hook: Annotated[
        bool,
        typer.Option("--show-hook", help="Show what a Git host is given to tell of new commits."),
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="From now on the task keeps the code that it has.")
    ] = False,
) -> None:
    """Say where the code of a task comes from: the server follows it from now on."""
    typed = TypedSource(git, folder, ref, subfolder, poll, policy)
    if sum((show_hook, remove, typed.is_given or typed.is_partly_given)) != 1:
        raise Invalid(
            "give one of: --git URL or --folder PATH (with --ref ...), --show-hook, --remove"
        )
    if show_hook:
        _show_hook(operator, name)
    elif remove:
        task = operator.client.remove_source(name)
        operator.show(task, f"Task {name} has no source any more and keeps the code that it has.")
    else:
        found = operator.client.set_source(name, typed.request())
        operator.show(
            found, source_fields(found), f"'fedops task commits {name}' shows what is found there."
        )


def _show_hook(operator: Operator, name: str) -> None:
    hook = operator.client.hook_secret(name)
    operator.show(
        hook,
        f"URL          {hook.url}\nSecret       {hook.secret}\nContent type application/json\n"
        "Let the Git host send pushes there. GitHub, Gitea and Forgejo sign with the secret, GitLab sends it "
        "as the secret token.",
    )


def look(operator: Operator, name: options.TaskName) -> None:
    """Have the server look at the source now."""
    found = operator.client.look_at_source(name)
    operator.show(
        found,
        f"The server looks at {found.url} now; 'fedops task commits {name}' shows what it finds.",
    )


def commits(
    operator: Operator,
    name: options.TaskName,
    check: Annotated[
        str | None,
        typer.Option(
            "--check",
            metavar="COMMIT",
            help="Check this one again, which was refused or skipped; its first 7 digits are enough.",
        ),
    ] = None,
) -> None:
    """List the commits that were found, and what became of each."""
    if check is not None:
        found = operator.client.check_commit(name, check.lower())
        operator.show(found, f"Commit {found.commit[:12]} is checked again.")
        return
    known = operator.client.commits(name)
    operator.show(known, commits_table(known))


# --- waiting for a new task ------------------------------------------------------------------


def wait_for_app(operator: Operator, name: str) -> c.TaskRead:
    """The task as soon as it is ready. What it waits for is shown as it changes.

    Raises:
        Invalid: it will not get ready by itself.
    """
    said = ""
    while True:
        task = outlasting(lambda: operator.client.task(name))
        if task.status is not TaskStatus.DRAFT:
            return task
        if task.stalled:
            raise Invalid(f"task '{name}' stays a draft: {task.why}")
        if task.why != said and not operator.as_json:
            console().print(f"Task {name} is a draft: {task.why}", soft_wrap=True)
            said = task.why
        time.sleep(INTERVAL)
