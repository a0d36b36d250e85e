"""A command that talks to the Server Manager: its client, its three options, and how it answers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import typer
from rich.console import RenderableType

from fedops.api_client import OperatorClient, Unreachable
from fedops.cli import options
from fedops.cli.connection import Login, find_login
from fedops.cli.output import show
from fedops.cli.secret_input import read_secret

Command = Callable[..., None]
_IS_IT = "Is the server running ('fedops server'), and is this its URL (--server)?"


class Operator:
    """Who types a command: the Server Manager that they mean, and how they want the answer."""

    def __init__(self, server: str | None, token: str | None, as_json: bool) -> None:
        self._server, self._token, self.as_json = server, token, as_json
        self._open = ExitStack()

    @functools.cached_property
    def client(self) -> OperatorClient:
        """A client of the Server Manager that options, environment or login name."""
        return self._open.enter_context(self._login.client())

    @property
    def secret(self) -> str:
        """The token that the client sends."""
        return self._login.token

    @functools.cached_property
    def _login(self) -> Login:
        token = self._token
        if token is not None:
            token = read_secret(token, "FEDOPS_TOKEN", None, "Token")
        return find_login(self._server, token)

    def show(self, value: Any, *human: RenderableType) -> None:
        """Print ``value`` as JSON, or what was made of it for people."""
        show(value, self.as_json, *human)

    def close(self) -> None:
        self._open.close()


def operator_command(app: typer.Typer, name: str | None = None) -> Callable[[Command], Command]:
    """A command of ``app``. Its first argument is an ``Operator``: of --server, --token and --json."""

    def register(command: Command) -> Command:
        @functools.wraps(command)
        def call(*, server: str | None, token: str | None, as_json: bool, **own: Any) -> None:
            operator = Operator(server, token, as_json)
            try:
                command(operator, **own)
            except Unreachable as error:
                raise Unreachable(f"{error.message}. {_IS_IT}") from None
            finally:
                operator.close()

        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [*own, *inspect.signature(_shared, eval_str=True).parameters.values()]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name)(call)
        return command

    return register


def _shared(
    *, server: options.Server = None, token: options.Token = None, as_json: options.Json = False
) -> None:
    """What each of them takes, beside its own."""
