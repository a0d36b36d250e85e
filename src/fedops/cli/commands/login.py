"""``fedops login``: remember a Server Manager and the token for it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fedops.api_client import OperatorClient
from fedops.cli import options
from fedops.cli.connection import Login, write_login
from fedops.cli.output import show
from fedops.core.errors import Invalid
from fedops.settings import cli_settings, normal_url

app = options.single()


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="The Server Manager, e.g. http://127.0.0.1:8600.")],
    token: Annotated[
        str | None, typer.Option("--token", help="The admin token; '-' reads it from stdin.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Remember a Server Manager and your token for the other commands.

    They are tried first, then kept in ~/.fedops/cli.json, readable by you only.
    """
    found = Login(normal_url(url), _given(token))
    with OperatorClient(found.url, token=found.token) as client:
        info = client.info()
    file = write_login(found, cli_settings())
    show(
        {"url": found.url, "file": str(file), "server": info},
        as_json,
        f"Logged in to {found.url} (FedOps {info.version}); remembered in {file}.",
    )


def _given(token: str | None) -> str:
    if token is None and sys.stdin.isatty():
        return str(typer.prompt("Admin token", hide_input=True))
    if token in (None, "-"):
        token = sys.stdin.readline().strip()
    if not token:
        raise Invalid("no token given: use --token T, or --token - and pipe it in")
    return token
