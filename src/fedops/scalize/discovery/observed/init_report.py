"""What ``fedops init --json`` prints: everything that a person sees, for a program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from fedops.config.script_table import Script
from fedops.scalize.discovery.app_folder import FOLDER
from fedops.scalize.discovery.choices import Choice, Option
from fedops.scalize.discovery.differences import Difference
from fedops.scalize.discovery.observed.proposal import ScriptProposal
from fedops.scalize.discovery.scaffold import Plan
from fedops.scalize.observing.records import Note, Seen


class Setting(BaseModel):
    """A value of the project that becomes a key of ``config.toml``."""

    value: Any
    where: str


class InitReport(BaseModel):
    """What was proposed, and what of it was written."""

    #: ``functions``: the project's own functions become steps. ``script``: its command is run in each round.
    kind: Literal["functions", "script"]
    #: Whether the app was written.
    ok: bool
    project: str
    #: Where the app is, or would be.
    folder: str
    #: The files that were written; none if a question is open or a command cannot be federated.
    files: list[str] = []
    #: pytorch, keras, sklearn or huggingface; empty: not recognised.
    framework: str = ""
    #: Of ``functions``: step -> the function that becomes it; empty: none.
    steps: dict[str, str] = {}
    #: Of ``functions``: key of ``config.toml`` -> value and where it was seen.
    settings: dict[str, Setting] = {}
    #: Of ``script``: the command that was run.
    command: list[str] = []
    #: Of ``script``: the table ``[script]`` of ``config.toml``.
    script: Script | None = None
    #: Of ``script``: everything that was seen of the run.
    seen: Seen | None = None
    #: Every decision with its evidence. Its key is what ``--answer`` takes (``--step`` for ``functions``).
    choices: list[Choice] = []
    #: The decisions among them that could not be seen and that nobody has made: with ``--yes`` the default
    #: was taken, otherwise nothing was written.
    questions: list[Choice] = []
    #: What of the project's own training will not be used, or otherwise.
    differences: list[Difference] = []
    #: What is not wrong, but good to know.
    notes: list[Note] = []
    #: Of ``script``: why the command cannot be federated. Of ``functions``: what is still open.
    problems: list[str] = []


def report_of_plan(plan: Plan, files: Sequence[Path]) -> InitReport:
    """What is said of an app made from functions."""
    return InitReport(
        kind="functions",
        ok=bool(files),
        project=str(plan.project),
        folder=str(plan.folder),
        files=[str(file) for file in files],
        framework=plan.framework,
        steps={name: choice.target for name, choice in plan.steps.items()},
        settings={k: Setting(value=v, where=where) for k, (v, where) in plan.settings.items()},
        choices=[_of_step(name, plan) for name in plan.steps],
        questions=[_of_step(name, plan) for name in plan.ties],
        differences=list(plan.differences),
        notes=[Note(kind="command", text=f"to train as your own command does: {plan.observed}")]
        if plan.command and plan.differences
        else [],
        problems=list(plan.problems),
    )


def _of_step(name: str, plan: Plan) -> Choice:
    """A step as a decision; where several functions would do as well, as a question."""
    choice, tied = plan.steps[name], plan.ties.get(name, ())
    return Choice(
        key=name,
        value=choice.target,
        why=choice.reason,
        question=f"Which is the {name} step?" if tied else "",
        options=[Option(value=target) for target in tied],
        default=choice.target,
        by="default" if tied else "seen",
    )


def report_of_script(proposal: ScriptProposal, files: Sequence[Path]) -> InitReport:
    """What is said of an app around a command."""
    return InitReport(
        kind="script",
        ok=bool(files),
        project=str(proposal.look.project),
        folder=str(proposal.look.project / FOLDER),
        files=[str(file) for file in files],
        framework=proposal.framework,
        command=list(proposal.look.command),
        script=proposal.script,
        seen=proposal.look.seen,
        choices=list(proposal.choices),
        questions=proposal.open(),
        differences=list(proposal.differences),
        notes=list(proposal.notes),
        problems=list(proposal.problems),
    )
