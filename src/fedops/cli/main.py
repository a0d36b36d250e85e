"""The ``fedops`` command: what it offers, and how every error leaves it.

Commands are imported when they are asked for, so that ``fedops --help`` answers at once.
"""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from fedops.core.suggestions import did_you_mean

#: Command -> its module, and its line in the help.
COMMANDS = {
    "demo": (
        "fedops.cli.commands.demo",
        "Train a model federatedly on this machine, as separate processes.",
    ),
    "init": (
        "fedops.cli.commands.init",
        "Write an app beside an existing project, which stays as it is.",
    ),
    "check": ("fedops.cli.commands.check", "Try an app: one tiny local round, and what is wrong."),
    "explain": (
        "fedops.cli.commands.explain",
        "Why a stored model predicts what it does, on local data.",
    ),
    "server": (
        "fedops.cli.commands.server",
        "The Server Manager: run, back up, restore.",
    ),
    "login": (
        "fedops.cli.access.login",
        "Remember a Server Manager and your token for the other commands.",
    ),
    "whoami": (
        "fedops.cli.access.whoami",
        "As whom you act, and what you may do.",
    ),
    "user": (
        "fedops.cli.access.users",
        "Users: add, list, role, disable, password, remove, token ...",
    ),
    "dashboard": (
        "fedops.cli.access.dashboard",
        "Where the server's page is, and a code to sign in there.",
    ),
    "status": (
        "fedops.cli.commands.status",
        "The whole federation on one screen: what needs you first.",
    ),
    "events": ("fedops.cli.commands.events", "What happened on the server, and who did it."),
    "token": (
        "fedops.cli.access.tokens",
        "Tokens with which devices join: create, list, revoke.",
    ),
    "join": ("fedops.cli.commands.join", "Enrol this machine as a device."),
    "client": (
        "fedops.cli.commands.client",
        "The Client Manager of this device: run, status, stop, restart.",
    ),
    "task": (
        "fedops.cli.commands.tasks",
        "What is to be learned: create, list, show, update, archive, ...",
    ),
    "run": (
        "fedops.cli.commands.runs",
        "Executions of a task: start, why, logs, pause, stop, extend, ...",
    ),
    "device": (
        "fedops.cli.commands.devices",
        "Enrolled devices: list, show, logs, approve, revoke, remove, ...",
    ),
    "model": (
        "fedops.cli.commands.models",
        "Global model versions: list, download, promote, compare, verify.",
    ),
}


#: No room, no permission, a file where a folder is wanted, or the other way round.
_DENIED = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
    )
)


class LazyCommands(TyperGroup):
    """The commands of ``COMMANDS``, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(importlib.import_module(COMMANDS[cmd_name][0]).app)
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            ctx.fail(f"No such command '{args[0]}'{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands fill the screen; the two options are named above them."""
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = typer.Typer(
    cls=LazyCommands, no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedops {version('fedops')}")
        raise typer.Exit


@app.callback(
    context_settings={"help_option_names": ["--help", "-h"]},
)
def root(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    show_traceback: Annotated[
        bool,
        typer.Option("--traceback", hidden=True, help="Show where an internal error happened."),
    ] = False,
) -> None:
    """Federated learning, operated. Commands take --help and --json. See also --version."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with the exit code of the error's kind."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(words, prog_name="fedops", standalone_mode=False)
    except BaseException as error:
        sys.exit(_report(_of_this_machine(error), words))
    sys.exit(code if isinstance(code, int) else 0)


def _of_this_machine(error: BaseException) -> BaseException:
    """A file that this machine does not let us have is no mistake of ours."""
    if not isinstance(error, OSError) or error.errno not in _DENIED:
        return error
    from fedops.core.errors import Unavailable

    where = f"{error.filename}: " if error.filename else ""
    return Unavailable(f"{where}{error.strerror}")


def _report(error: BaseException, words: list[str]) -> int:
    """One clear message on stderr, also as JSON on stdout when asked for. Returns the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return 130
    if isinstance(error, BrokenPipeError):  # whoever read our output has seen enough
        sys.stderr.close()
        return 0
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # the help has been shown
        return error.exit_code
    described = _described(error, "--traceback" in words)
    sys.stderr.write(f"fedops: {described['message']}\n")
    if "--json" in words:
        import json

        sys.stdout.write(json.dumps(described) + "\n")
    return int(getattr(error, "exit_code", 1))


def _described(error: BaseException, where: bool) -> dict[str, Any]:
    from fedops.core.errors import FedOpsError

    if isinstance(error, FedOpsError):
        kind, message = error.kind, error.message
    elif isinstance(error, click.ClickException):
        kind, message = "invalid", _usage(error)
    else:
        kind = "error"
        message = f"internal error: {type(error).__name__}: {error}\n"
        message += "This is a mistake in FedOps, not yours; "
        message += "it stands above." if where else "'fedops --traceback ...' shows where it is."
        if where:
            traceback.print_exception(error)
    return {"kind": kind, "error": type(error).__name__, "message": message}


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" ('{context.command_path} --help' shows how)" if context else ""
    return error.format_message().rstrip(".") + hint
