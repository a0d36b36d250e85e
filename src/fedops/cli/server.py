"""``fedops server``: run the Server Manager."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.output import console, show
from fedops.settings import ServerSettings, server_settings

app = options.single()


class Approval(StrEnum):
    """Who approves a device that joins."""

    AUTO = "auto"
    MANUAL = "manual"


@app.command()
def server(
    host: Annotated[
        str | None, typer.Option("--host", help="The address to listen on; default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="The port; default: 8600; 0: any free one.")
    ] = None,
    home: options.Home = None,
    approval: Annotated[
        Approval | None,
        typer.Option(
            "--approval", help="Whether a valid join token is enough (auto, the default)."
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Allow an address other than loopback without TLS."),
    ] = False,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="How devices reach it, behind a proxy."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Run the Server Manager: REST API, dashboard, gateway for devices, and a Flower SuperLink.

    It stays in the foreground; Ctrl-C ends it and all it started. Runs that were going on are
    continued at the next start. --json prints one document when it is up.
    """
    from fedops.server.main import run  # takes a second or two to import

    settings = server_settings(
        host=host,
        port=port,
        home=home,
        approval=approval and approval.value,
        insecure=insecure or None,
        public_url=public_url,
    )

    def announce(up: ServerSettings) -> None:
        if as_json:
            show({"url": up.url, "admin_token_file": str(up.admin_token_file)}, True)
            return
        console().print(f"Server Manager on {up.url}", soft_wrap=True)
        console().print(f"The admin token is in {up.admin_token_file}", soft_wrap=True)

    run(settings, announce)
