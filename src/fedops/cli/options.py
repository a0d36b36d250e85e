"""The options that many commands share."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from fedops.cli import completion
from fedops.cli.plain_help import Commands
from fedops.core.contracts import Request, require_name
from fedops.core.errors import Invalid
from fedops.core.validation_messages import validation_messages

R = TypeVar("R", bound=Request)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Server = Annotated[
    str | None,
    typer.Option(
        "--server", metavar="URL", help="The Server Manager; default: see 'fedops login'."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token", metavar="-", help="'-' reads your token from stdin; else FEDOPS_TOKEN."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a config key; may be repeated.",
        callback=lambda given: assignments(given),
    ),
]
Follow = Annotated[bool, typer.Option("--follow", help="Show it as it goes, until it ends.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: it cannot be undone.")]
Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The directory it keeps its data in.")
]
Task = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="The task's name.",
        callback=lambda text: named(text),
        autocompletion=completion.tasks,
    ),
]
#: As ``Task``, in the commands about tasks themselves.
TaskName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The task's name.",
        callback=lambda text: named(text),
        autocompletion=completion.tasks,
    ),
]
RunId = Annotated[
    int,
    typer.Argument(metavar="RUN", help="The run's number.", autocompletion=completion.runs),
]
Version = Annotated[
    str,
    typer.Argument(
        metavar="VERSION",
        help="V3, 3, or an alias such as latest.",
        callback=lambda text: version_text(text),
    ),
]
OnlyDevices = Annotated[
    list[str] | None,
    typer.Option("--devices", metavar="NAME|PATTERN", help="Only these: day-*. May be repeated."),
]
Because = Annotated[str, typer.Option("--because", metavar="TEXT", help="Why. The events keep it.")]


def assignments(given: list[str] | None) -> list[str] | None:
    """Overrides as they were typed. ``Invalid`` before anybody is asked about them."""
    from fedops.config.overrides import split_override

    for override in given or []:
        split_override(override)
    return given


def named(text: str | None) -> str | None:
    """The name of a task or device as it was typed. ``Invalid`` before anybody is asked about it."""
    return text if text is None else require_name(text)


def version_text(text: str | None) -> str | None:
    """A version as it was typed. ``Invalid`` when no version or alias is called so."""
    if text is not None and not re.fullmatch(r"[vV]?\d{1,9}|[a-z][a-z0-9-]*", text):
        raise Invalid(f"'{text}' is no model version; write V3, 3 or an alias such as latest")
    return text


def request(kind: type[R], /, **values: Any) -> R:
    """A request made of what the user typed. ``Invalid`` names each value that it cannot hold."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise Invalid("; ".join(validation_messages(error, kind))) from None


def require_sure(question: str, yes: bool) -> None:
    """Ask on a terminal before what cannot be undone. Elsewhere ``Invalid``, unless --yes was given."""
    _require(question, yes, "It cannot be undone: repeat the command with --yes")


def require_agreed(question: str, yes: bool) -> None:
    """Ask on a terminal before what may not be meant. Elsewhere ``Invalid``, unless --yes was given."""
    _require(question, yes, "If so, repeat the command with --yes")


def _require(question: str, yes: bool, else_: str) -> None:
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Invalid(f"{question} {else_}")
    typer.confirm(question, abort=True, err=True)


def group(text: str) -> Commands:
    """A command with subcommands."""
    return Commands(help=text, no_args_is_help=True)


def single() -> Commands:
    """A command without subcommands."""
    return Commands()
