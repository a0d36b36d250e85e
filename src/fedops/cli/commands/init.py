"""``fedops init``: an app written beside an existing project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.commands.fedops_1 import init_fedops_1
from fedops.cli.observing.asking import ask
from fedops.cli.observing.behind_dashes import WithCommand, command_behind_dashes
from fedops.cli.observing.init_command import init_command
from fedops.cli.output import show
from fedops.core.errors import Invalid
from fedops.scalize.discovery.observed.init_report import report_of_plan
from fedops.scalize.discovery.scaffold import Plan, propose, write
from fedops.scalize.legacy.old_files import is_old_project

app = options.single()


@app.command(cls=WithCommand)
def init(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The project's folder.")] = Path("."),
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Take what is proposed, and every question's default."),
    ] = False,
    steps: Annotated[
        list[str] | None,
        typer.Option("--step", metavar="STEP=TARGET", help="Name a step's function yourself."),
    ] = None,
    answers: Annotated[
        list[str] | None,
        typer.Option(
            "--answer", metavar="KEY=VALUE", help="With a command: decide something yourself."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="With a command: how long it may take.")
    ] = 1800.0,
    as_json: options.Json = False,
) -> None:
    """Propose how a project becomes a federated app, and write that into the folder 'federated' beside
    it. No existing file is touched.

    Without a command, the project is looked at and not run: its functions become the steps of federated
    learning. Behind -- stands the command with which you train, such as 'fedops init . -- python main.py
    --epochs 1'. It is run once in the project's folder and watched; devices then run the same command in
    each round.

    Ends with 1 when the command cannot be federated, with 2 when a question is open.
    """
    command = command_behind_dashes(context)
    if command is not None:
        if steps:
            raise Invalid(
                "--step is for a project without a command; with one, write --answer KEY=VALUE"
            )
        given = _assignments("--answer", answers or [], "models=Net")
        init_command(path, command, given, yes=yes, seconds=seconds, as_json=as_json)
        return
    given = _assignments("--step", [*(steps or []), *(answers or [])], "train=main.train")
    if is_old_project(path.expanduser()) and not given:
        init_fedops_1(path, yes=yes, as_json=as_json)
        return
    _init_functions(propose(path).with_answers(given), yes=yes, as_json=as_json)


def _init_functions(plan: Plan, *, yes: bool, as_json: bool) -> None:
    if as_json and plan.ties and not yes:
        show(report_of_plan(plan, []), True)
        raise typer.Exit(2)
    if not (yes or as_json):
        show(None, False, *plan.lines())
        questions = report_of_plan(plan, []).questions
        plan = plan.with_answers({one.key: ask(one, "--step") for one in questions})
        typer.confirm(f"Write {plan.folder}?", abort=True)
    report = report_of_plan(plan, write(plan))
    show(report, as_json, *(plan.lines() if yes else ()), *_next(plan))


def _assignments(option: str, given: Sequence[str], example: str) -> dict[str, str]:
    for one in given:
        if "=" not in one:
            raise Invalid(f"{option} '{one}': write KEY=VALUE, e.g. {example}")
    return dict(one.split("=", 1) for one in given)


def _next(plan: Plan) -> list[str]:
    return [f"Written: {plan.folder}", f"Now try it: fedops check {plan.project}"]
