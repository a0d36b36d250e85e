"""``fedops login``: remember a Server Manager and a token for it."""

from __future__ import annotations

import platform
import sys
from typing import Annotated

import typer

from fedops.api_client import OperatorClient
from fedops.api_client.operator_users import SignInClient
from fedops.cli import options
from fedops.cli.access.users import asked_password
from fedops.cli.connection import Login, write_login
from fedops.cli.output import show
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.settings import cli_settings, normal_url

app = options.single()


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="The Server Manager, e.g. http://127.0.0.1:8600.")],
    token: Annotated[
        str | None, typer.Option("--token", help="Your token; '-' reads it from stdin.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="NAME", help="Your name: asks for your password."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Remember a Server Manager and your token for the other commands.

    They are tried first, then kept in ~/.fedops/cli.json, readable by you only. With --user, the server gives
    you a token for your password: it is valid for 30 days, or until your password changes.
    """
    if user is not None and token is not None:
        raise Invalid("give --user or --token, not both")
    address = normal_url(url)
    secret = _given(token) if user is None else _for_password(address, user)
    found = Login(address, secret)
    with OperatorClient(found.url, token=found.token) as client:
        info, me = client.info(), client.whoami()
    file = write_login(found, cli_settings())
    show(
        {"url": found.url, "file": str(file), "server": info, "user": me.user},
        as_json,
        f"Logged in to {found.url} (FedOps {info.version}) as {me.user}; remembered in {file}.",
    )


def _given(token: str | None) -> str:
    if token is None and sys.stdin.isatty():
        return str(typer.prompt("Token", hide_input=True))
    if token in (None, "-"):
        token = sys.stdin.readline().strip()
    if not token:
        raise Invalid("no token given: use --token T, or --token - and pipe it in")
    return token


def _for_password(url: str, user: str) -> str:
    password = asked_password(f"Password of {user}")
    note = f"fedops login on {platform.node()}"[:200]
    body = options.request(c.SignIn, user=user, password=password, note=note)
    with SignInClient(url) as client:
        return client.sign_in(body).token or ""
