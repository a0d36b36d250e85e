"""A command of the user's own behind ``--``."""

from __future__ import annotations

import click
import typer

from fedops.cli.plain_help import PlainCommand

_KEY = "fedops.command"


class WithCommand(PlainCommand):
    """A command of ours that takes another behind ``--``, whose words are none of its own."""

    #: As it is shown in the usage.
    trailing = "[-- COMMAND ...]"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            args, ctx.meta[_KEY] = args[:place], args[place + 1 :]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), self.trailing]


def command_behind_dashes(context: typer.Context) -> list[str] | None:
    """The words behind ``--``; None without one."""
    found: list[str] | None = context.meta.get(_KEY)
    return found
