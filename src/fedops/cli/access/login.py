"""``fedops login``: remember a Server Manager and a token for it."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from fedops.api_client import Verify, fetch_authority, trust_pem
from fedops.api_client.operator_users import SignInClient
from fedops.cli import options
from fedops.cli.access.users import asked_password
from fedops.cli.connection import Login, write_login
from fedops.cli.output import show
from fedops.cli.secret_input import read_secret
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.core.server_authority import split_fingerprint
from fedops.server_urls import normal_url
from fedops.settings import cli_settings

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
        typer.Option("--token", help="'-' reads your token from stdin; else FEDOPS_TOKEN."),
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
    address, fingerprint = split_fingerprint(normal_url(url))
    authorities = fetch_authority(address, fingerprint) if fingerprint else None
    if user is None:
        with SignInClient(address, verify=_verify(authorities)) as server:
            server.require_plain_http()
        secret = read_secret(token, "FEDOPS_TOKEN", cli_settings().token, "Token")
    else:
        secret = _for_password(address, authorities, user)
    found = Login(address, secret, authorities)
    with found.client() as client:
        info, me = client.info(), client.whoami()
    file = write_login(found, cli_settings())
    show(
        {"url": found.url, "file": str(file), "server": info, "user": me.user},
        as_json,
        f"Logged in to {found.url} (FedOps {info.version}) as {me.user}; remembered in {file}.",
    )


def _for_password(url: str, authorities: str | None, user: str) -> str:
    password = asked_password(f"Password of {user}")
    note = f"fedops login on {platform.node()}"[:200]
    body = options.request(c.SignIn, user=user, password=password, note=note)
    with SignInClient(url, verify=_verify(authorities)) as client:
        return client.sign_in(body).token or ""


def _verify(authorities: str | None) -> Verify:
    return trust_pem(authorities) if authorities else True
