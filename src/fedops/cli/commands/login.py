"""``fedops login``: remember a Server Manager and the token for it."""

from __future__ import annotations

from typing import Annotated

import typer

from fedops.api_client import fetch_authority
from fedops.cli import options
from fedops.cli.connection import Login, write_login
from fedops.cli.output import show
from fedops.cli.secret_input import read_secret
from fedops.core.server_authority import split_fingerprint
from fedops.settings import cli_settings, normal_url

app = options.single()


@app.command()
def login(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL[#FINGERPRINT]",
            help="The Server Manager, and the fingerprint of its authority if it has one of its own.",
        ),
    ],
    token: Annotated[
        str | None,
        typer.Option("--token", help="'-' reads the admin token from stdin; else FEDOPS_TOKEN."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Remember a Server Manager and your token for the other commands.

    They are tried first, then kept in ~/.fedops/cli.json, readable by you only.
    """
    secret = read_secret(token, "FEDOPS_TOKEN", cli_settings().token, "Admin token")
    address, fingerprint = split_fingerprint(normal_url(url))
    authorities = fetch_authority(address, fingerprint) if fingerprint else None
    found = Login(address, secret, authorities)
    with found.client() as client:
        info = client.info()
    file = write_login(found, cli_settings())
    show(
        {"url": found.url, "file": str(file), "server": info},
        as_json,
        f"Logged in to {found.url} (FedOps {info.version}); remembered in {file}.",
    )
