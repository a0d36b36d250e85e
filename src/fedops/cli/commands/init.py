"""``fedops init``: an app written beside an existing project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.commands.fedops_1 import init_fedops_1
from fedops.cli.output import show
from fedops.core.errors import Invalid
from fedops.scalize.discovery.scaffold import Plan, propose, write
from fedops.scalize.legacy.old_files import is_old_project

app = options.single()


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The project's folder.")] = Path("."),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take what is proposed.")] = False,
    steps: Annotated[
        list[str] | None,
        typer.Option("--step", metavar="STEP=TARGET", help="Name a step's function yourself."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Look at a project without running it, propose how its functions become the steps of
    federated learning, and write the folder 'federated' beside it. No existing file is touched.
    """
    if is_old_project(path.expanduser()) and not steps:
        init_fedops_1(path, yes=yes, as_json=as_json)
        return
    plan = propose(path).with_answers(_answers(steps or []))
    if not (yes or as_json):
        show(None, False, *plan.lines())
        typer.confirm(f"Write {plan.folder}?", abort=True)
    written = write(plan)
    document = {
        "folder": str(plan.folder),
        "files": [str(file) for file in written],
        "steps": {name: choice.target for name, choice in plan.steps.items()},
        "problems": list(plan.problems),
    }
    show(document, as_json, *(plan.lines() if yes else ()), *_next(plan))


def _answers(steps: list[str]) -> dict[str, str]:
    for step in steps:
        if "=" not in step:
            raise Invalid(f"--step '{step}': write STEP=TARGET, e.g. train=main.train")
    return dict(step.split("=", 1) for step in steps)


def _next(plan: Plan) -> list[str]:
    return [f"Written: {plan.folder}", f"Now try it: fedops check {plan.project}"]
