"""``fedops run contributions``, ``fedops run selections`` and ``fedops task contributions``."""

from __future__ import annotations

from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.contributions import (
    basis_line,
    by_class_table,
    no_scores_of,
    no_selection_of,
    round_scores_view,
    selections_view,
    standings_table,
)

Round = Annotated[int | None, typer.Option("--round", min=1, help="Of this round only.")]
ByClass = Annotated[
    bool, typer.Option("--by-class", help="The values for each class of the validation data.")
]
Last = Annotated[int, typer.Option("--last", min=1, max=1_000, help="How many of the newest.")]


def add_to_runs(app: typer.Typer) -> None:
    """The commands that look at one run."""
    operator_command(app, "contributions")(run_contributions)
    operator_command(app, "selections")(run_selections)


def add_to_tasks(app: typer.Typer) -> None:
    """The command that looks at all runs of a task."""
    operator_command(app, "contributions")(task_contributions)


def run_contributions(
    operator: Operator,
    run_id: options.RunId,
    round_: Round = None,
    last: Last = 5,
    by_class: ByClass = False,
) -> None:
    """Show what the update of each client was worth, round by round.

    VALUE is what the validation data gained by it, ± the standard error. INTEGRITY is 0 for what is typical
    and negative for what is not. 'fedops task contributions' adds the rounds up.
    """
    found = operator.client.contributions(run_id, round_, limit=last)
    if round_ is not None and not found:
        operator.show(found, no_scores_of(operator.client.run(run_id), round_))
        return
    operator.show(found, *round_scores_view(found, by_class=by_class))


def run_selections(
    operator: Operator, run_id: options.RunId, round_: Round = None, last: Last = 3
) -> None:
    """Show whom a round chose, and why, and why not the others."""
    found = operator.client.selections(run_id, round_, limit=last)
    if round_ is not None and not found:
        operator.show(found, no_selection_of(operator.client.run(run_id), round_))
        return
    operator.show(found, *selections_view(found))


def task_contributions(operator: Operator, task: options.Task, by_class: ByClass = False) -> None:
    """Show each client's value and integrity over all scored rounds of a task.

    With '--by-class' you see who gives most to which class: the holder of a rare one may have a small value.
    """
    found = operator.client.task_contributions(task)
    shown = by_class_table(found.clients) if by_class and found.clients else standings_table(found)
    operator.show(found, shown, basis_line(found))
