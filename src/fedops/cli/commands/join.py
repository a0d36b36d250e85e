"""``fedops join``: enrol this machine as a device."""

from __future__ import annotations

from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.output import show
from fedops.cli.secret_input import read_secret
from fedops.client.device.data_dir import DataDir
from fedops.client.device.enrolment import PATIENCE_SECONDS
from fedops.client.device.enrolment import join as enrol
from fedops.server_urls import normal_url
from fedops.settings import app_settings, client_settings

app = options.single()


Url = Annotated[
    str,
    typer.Argument(
        metavar="URL#FINGERPRINT",
        help="The server and its authority's fingerprint, as 'fedops token create' shows them.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option("--token", help="'-' reads the join token from stdin; else FEDOPS_JOIN_TOKEN."),
]
Name = Annotated[str | None, typer.Option("--name", help="The device's name; default: the host's.")]
Wait = Annotated[
    float,
    typer.Option("--wait", min=0, help="How long to go on trying to reach it, in seconds."),
]
Proxy = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        metavar="URL",
        help="The proxy on the way to it; 'environment': the one that http_proxy names.",
    ),
]


@app.command()
def join(
    url: Url,
    token: Token = None,
    name: Name = None,
    wait: Wait = PATIENCE_SECONDS,
    proxy: Proxy = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Enrol this machine as a device. Once: its key and token are kept in its data directory.

    The join token is taken from FEDOPS_JOIN_TOKEN. With a fingerprint, nothing is sent before the server has
    shown that its certificate comes from this authority, which the device then keeps. Without one, the
    certificate must come from an authority that this machine trusts.
    """
    settings = client_settings(home=home)
    known = app_settings().join_token
    new = not DataDir(settings.home).identity.exists()
    secret = read_secret(token, "FEDOPS_JOIN_TOKEN", known, "Join token") if new else ""
    joined = enrol(
        normal_url(url),
        secret,
        name,
        settings.home,
        patience=wait,
        ca_file=settings.ca_file,
        proxy=proxy,
    )
    value = {
        "device": joined.identity.name,
        "server": joined.identity.server,
        "home": str(settings.home),
        "new": joined.new,
        "enrolment": joined.enrolment,
    }
    show(value, as_json, joined.message[:1].upper() + joined.message[1:] + ".")
