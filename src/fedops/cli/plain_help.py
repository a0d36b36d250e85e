"""The one style in which every command shows its help: plain text, all of it, and at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType


class _Formatter(click.HelpFormatter):
    def write_dl(self, rows: Iterable[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        # Typer writes [default: 3] for rich, also where rich has no part in it.
        super().write_dl([(a, b.replace("\\[", "[")) for a, b in rows], *args, **kwargs)


class _Context(click.Context):
    formatter_class = _Formatter


class PlainCommand(TyperCommand):
    """A command without subcommands."""

    context_class = _Context


class PlainGroup(TyperGroup):
    """A group of commands, each with its first sentence."""

    context_class = _Context

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if ctx.parent is not None:
            super().format_help_text(ctx, formatter)
            return
        with formatter.indentation():  # no line in between: all commands are to fit one screen
            formatter.write_text(self.help or "")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(n, _first_sentence(c.help)) for n, c in commands if c is not None and not c.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join((text or "").split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".") + "."


class Commands(typer.Typer):
    """A Typer whose help is plain."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            **{"cls": PlainGroup, "add_completion": False, **settings},
            rich_markup_mode=None,
            suggest_commands=False,  # click does
            pretty_exceptions_enable=False,
        )

    def command(
        self, name: str | None = None, **settings: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        return super().command(name, **{"cls": PlainCommand, **settings})
