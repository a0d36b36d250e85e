"""``fedops init . -- COMMAND``: watch, propose, ask, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from fedops.cli.observing.asking import ask
from fedops.cli.observing.progress import CommandProgress
from fedops.cli.output import show
from fedops.core.errors import Invalid
from fedops.processes.own_folder import own_folder
from fedops.scalize.discovery.app_folder import require_free
from fedops.scalize.discovery.observed.app_files import write_app
from fedops.scalize.discovery.observed.init_report import report_of_script
from fedops.scalize.discovery.observed.look import Look, shown
from fedops.scalize.discovery.observed.looks import Watching, look_at, require_command
from fedops.scalize.discovery.observed.proposal import ScriptProposal, propose_script
from fedops.scalize.discovery.observed.proposal_lines import lines_of


def init_command(
    path: Path,
    command: Sequence[str],
    answers: Mapping[str, str],
    *,
    yes: bool,
    seconds: float,
    as_json: bool,
) -> None:
    """Run the command once, and write the app around it.

    Raises:
        Conflict: there is an app already.
        Invalid: the command cannot be started, or a question is open and nobody is there to answer.
        typer.Exit: 1, the command cannot be federated; 2, a question is open (with ``as_json``).
    """
    folder = require_free(path)
    require_command(folder.parent, command)
    with own_folder("init") as records:
        progress = CommandProgress(shown(command))
        with progress:
            how = Watching(records, seconds, progress.output, progress.again)
            look = look_at(path, command, how)
        proposal = propose_script(look, answers)
        if proposal.problems:
            _refuse(proposal, progress.tail(), as_json)
        if as_json:
            _write_as_json(proposal, yes)
            return
        show(None, False, *lines_of(proposal))
        if not yes:
            proposal = _asked(look, proposal, answers)
            typer.confirm(f"Write {folder}?", abort=True)
        write_app(proposal)
    show(None, False, f"Written: {folder}", f"Now prove it: fedops check {folder.parent}")


def _refuse(proposal: ScriptProposal, tail: Sequence[str], as_json: bool) -> None:
    said = tail if not proposal.look.seen.models else ()
    show(report_of_script(proposal, []), as_json, *said, *lines_of(proposal))
    raise typer.Exit(1)


def _write_as_json(proposal: ScriptProposal, yes: bool) -> None:
    if proposal.open() and not yes:
        show(report_of_script(proposal, []), True)
        raise typer.Exit(2)
    show(report_of_script(proposal, write_app(proposal)), True)


def _asked(look: Look, proposal: ScriptProposal, answers: Mapping[str, str]) -> ScriptProposal:
    """The proposal once every question is answered. One answer may raise another question."""
    given = dict(answers)
    while open_questions := proposal.open():
        question = open_questions[0]
        answer = ask(question, "--answer")
        try:
            proposal = propose_script(look, {**given, question.key: answer})
        except Invalid as error:
            typer.echo(error.message)
        else:
            given[question.key] = answer
    return proposal
