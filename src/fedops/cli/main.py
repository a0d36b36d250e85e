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
from click.shell_completion import CompletionItem

from fedops.cli.plain_help import Commands, PlainGroup
from fedops.core.printable import printable
from fedops.core.suggestions import did_you_mean

#: Command -> its module, and its line in the help.
COMMANDS = {
    "demo": (
        "fedops.cli.commands.demo",
        "Train a model federatedly on this machine.",
    ),
    "init": (
        "fedops.cli.commands.init",
        "Write an app beside an existing project, which stays as it is.",
    ),
    "check": ("fedops.cli.commands.check", "Try an app: one tiny local round, and what is wrong."),
    "ci": ("fedops.cli.ci.command", "Check an app, then train it with two clients: for CI."),
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
        "Remember a Server Manager and your token.",
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
    "notification": (
        "fedops.cli.notifications.command",
        "Who is told of what happens: list, add, test, change, ...",
    ),
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
        "What is to be learned: create, list, status, rollout, ...",
    ),
    "run": (
        "fedops.cli.commands.runs",
        "Executions of a task: start, why, logs, pause, stop, ...",
    ),
    "schedule": (
        "fedops.cli.delivery.schedules",
        "Training that begins by itself: set, list, fire, pause, ...",
    ),
    "device": (
        "fedops.cli.commands.devices",
        "Enrolled devices: list, show, logs, approve, revoke, ...",
    ),
    "model": (
        "fedops.cli.commands.models",
        "Global model versions: list, download, promote, compare, ...",
    ),
}


#: A file where a folder is wanted, or the other way round.
_MISPLACED = frozenset((errno.ENOTDIR, errno.EISDIR))


class LazyCommands(PlainGroup):
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
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{args[0]}'{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        fitting = [name for name in COMMANDS if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=COMMANDS[name][1]) for name in fitting]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands fill the screen of 24 lines; the options are named above them."""
        self.format_commands(ctx, formatter)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """It is the heading of the commands: there is no line to spare."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section((self.help or "Commands").strip().rstrip(".")):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = Commands(cls=LazyCommands, no_args_is_help=True, add_completion=True)


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
    """Commands, each with --help and --json (see --version, --install-completion)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with the exit code of the error's kind."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(words, prog_name="fedops", standalone_mode=False)
    except BaseException as error:
        sys.exit(_report(_of_this_machine(error), words))
    sys.exit(code if isinstance(code, int) else 0)


def _of_this_machine(error: BaseException) -> BaseException:
    """What this machine lacks, or a file that it does not let us have, is no mistake of ours."""
    if not isinstance(error, OSError | MemoryError):
        return error
    from fedops.core.errors import Unavailable
    from fedops.storage.shortages import shortage_of

    if isinstance(error, OSError) and error.errno in _MISPLACED:
        return Unavailable(f"{error.filename}: {error.strerror}")
    shortage = shortage_of(error, getattr(error, "filename", None) or "")
    if shortage is None:
        return error
    if isinstance(error, MemoryError):
        return Unavailable(f"{shortage.named('this machine')}: {shortage.remedy}")
    where = f"{error.filename}: " if error.filename else ""
    return Unavailable(f"{where}{error.strerror}; {shortage.remedy}")


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
    sys.stderr.write(f"fedops: {printable(described['message'])}\n")
    ours = words[: words.index("--")] if "--" in words else words
    if "--json" in ours:
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
