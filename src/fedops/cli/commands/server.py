"""``fedops server``: run the Server Manager or a file server, back up what is kept, bring it back."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.operator_command import Operator, operator_command
from fedops.cli.output import console, show
from fedops.cli.plain_help import Commands
from fedops.console.federation import INSECURE
from fedops.console.format import bytes_of, fields, moment
from fedops.core.contracts import ServerInfo
from fedops.core.errors import Invalid
from fedops.core.server_authority import split_fingerprint
from fedops.settings import ServerSettings, server_settings

app = Commands(invoke_without_command=True)


tls_app = options.group("The server's certificate and its authority.")
app.add_typer(tls_app, name="tls")


class Approval(StrEnum):
    """Who approves a device that joins."""

    AUTO = "auto"
    MANUAL = "manual"


@app.callback()
def server(
    context: typer.Context,
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
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Speak TLS on loopback too. On other addresses it always does."),
    ] = False,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="How devices reach it, behind a proxy."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Run the Server Manager: REST API, dashboard, work and files for devices, and the FL servers of runs.

    It stays in the foreground; Ctrl-C ends it and all it started. Runs that were going on are
    continued at the next start. --json prints one document when it is up.
    """
    if context.invoked_subcommand is not None:
        context.obj = home
        return
    from fedops.server.main import run  # takes a second or two to import

    settings = server_settings(
        host=host,
        port=port,
        home=home,
        approval=approval and approval.value,
        insecure=insecure or None,
        tls="on" if tls else None,
        public_url=public_url,
    )
    run(settings, lambda up, code: _announce(up, code, as_json))


def _announce(up: ServerSettings, code: str, as_json: bool) -> None:
    from fedops.server.tls.endpoint import join_url

    join = join_url(up)
    if as_json:
        found = {"url": up.url, "join_url": join, "insecure": up.is_insecure}
        show({**found, "admin_token_file": str(up.admin_token_file)}, True)
        return
    console().print(f"Server Manager on {up.url}", soft_wrap=True)
    console().print(f"The admin token is in {up.admin_token_file}", soft_wrap=True)
    if "#" in join:
        console().print(f"Devices join it as {join}", soft_wrap=True)
    if code:  # behind '#': a browser sends that to nobody
        link = f"{up.url}/sign-in#{code}"
        console().print(f"Sign in, once, within 15 minutes: {link}", soft_wrap=True)
    if up.is_insecure:
        console().print(f"INSECURE: {INSECURE}", soft_wrap=True)


@app.command("files")
def files_(
    context: typer.Context,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="The port; 0: any free one.")
    ] = 8611,
    host: Annotated[
        str | None, typer.Option("--host", help="The address to listen on; default: 127.0.0.1.")
    ] = None,
    home: options.Home = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Allow an address other than loopback without TLS."),
    ] = False,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Speak TLS on loopback too. On other addresses it always does."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Run a file server beside the Server Manager: models out, updates in, nothing else. Needs PostgreSQL.

    It has the database and the stored files of the Server Manager, and may use the same home folder. A
    proxy sends it what begins with /api/v1/blobs. Ctrl-C ends it.
    """
    from fedops.server.main import run_file_server

    given = {"host": host, "home": home or context.obj, "insecure": insecure or None}
    given["tls"] = "on" if tls else None
    run_file_server(server_settings(port=port, **given), lambda up: _announce_files(up, as_json))


def _announce_files(up: ServerSettings, as_json: bool) -> None:
    where = up.model_copy(update={"public_url": None}).url
    text = f"File server on {where}: it serves {where}/api/v1/blobs and {where}/health"
    show({"url": where}, as_json, text)


@app.command("backup")
def backup_(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write it; it must be new.")
    ],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Write all that the server keeps into one file, while it runs or not.

    It holds the admin token: keep it as safe as the server itself. The exit code is 1 when stored files
    were damaged and had to be left out.
    """
    from fedops.server.database.backup import backup

    report = backup(server_settings(home=home or context.obj), file)
    lines = [f"left out: {sha256}: {why}" for sha256, why in report.damaged.items()]
    text = f"{report.path}: {report.files} stored files, {bytes_of(report.size)}"
    show(report, as_json, text, *lines)
    if report.damaged:
        raise typer.Exit(1)


@app.command("restore")
def restore_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Make the server's folder what it was when the backup was made; the server must not run.

    What is there now is kept in a folder beside it.
    """
    from fedops.server.database.restore import restore
    from fedops.server.main import LOCK

    report = restore(server_settings(home=home or context.obj), file, LOCK)
    aside = f"; what was there is in {report.aside}" if report.aside else ""
    show(report, as_json, f"{report.home} is restored with {report.files} stored files{aside}")


@operator_command(app)
def status(operator: Operator) -> None:
    """Show where the server is reached, and how it is protected on the way."""
    info = operator.client.info()
    if info.insecure:
        operator.show(info, f"INSECURE: {INSECURE}", fields(_reached(info)))
    else:
        operator.show(info, fields(_reached(info)))


def _reached(info: ServerInfo) -> dict[str, str]:
    url, fingerprint = split_fingerprint(info.join_url)
    tls = "TLS" if url.startswith("https://") else "plain HTTP"
    return {
        "server": f"FedOps {info.version}, FL servers: {info.engine}",
        "reached at": url,
        "on the way": tls if not info.insecure else "plain HTTP, readable for everybody on the way",
        "authority": fingerprint or ("as the system knows it" if tls == "TLS" else ""),
        "certificate": f"until {moment(info.certificate_until)}" if info.certificate_until else "",
        "devices": f"{info.devices_online} of {info.devices} online",
    }


@tls_app.command()
def rotate(
    home: options.Home = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also if devices may not have learnt of the last new one yet."
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make a new certificate authority. Devices learn of it over connections that the old one vouches for.

    Both are trusted for 30 days. If the server runs, the command ends when it shows its new certificate,
    within ten seconds. A device that is away for all that time joins once more, with the line that
    'fedops token create' shows.
    """
    from fedops.cli.access.authority_in_use import shows_authority
    from fedops.server.tls.authority import pem_of
    from fedops.server.tls.endpoint import join_url, own_certificates

    settings = server_settings(home=home)
    own = own_certificates(settings.model_copy(update={"tls": "on"}))
    if own is None:
        raise Invalid(
            "this server has certificates of your own: replace the files that you gave it"
        )
    if (until := own.overlap_until) is not None and not force:
        raise Invalid(
            f"the authority was replaced already, and devices have until {until:%Y-%m-%d} to learn of it: "
            "those that have not could not verify the server after another one; wait, or give --force"
        )
    authority = pem_of(own.rotate().certificate).decode()
    line = join_url(settings.model_copy(update={"tls": "on"}))
    in_use = shows_authority(settings.local_url_file, authority)
    value = {
        "authority": split_fingerprint(line).fingerprint,
        "file": str(own.ca_file),
        "in_use": in_use,
    }
    show(
        value,
        as_json,
        f"The new authority is {value['authority']}; the old one is trusted for 30 days.",
        *([] if in_use is not False else ["The server still shows the old certificate."]),
    )
