"""``fedops device``: the enrolled machines."""

from __future__ import annotations

from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.connection import operator
from fedops.cli.logs import stream, write
from fedops.cli.output import show
from fedops.cli.telemetry_table import telemetry_table
from fedops.console.devices import device_fields, devices_table
from fedops.core import contracts as c

app = options.group("Enrolled devices.")

Name = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's name.")]


@app.command("list")
def list_(
    task: Annotated[
        str | None, typer.Option("--task", help="Only those that are enrolled in this task.")
    ] = None,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """List the devices, with what each is doing and why."""
    with operator(server, token) as client:
        devices = client.devices(task)
    show(devices, as_json, devices_table(devices))


@app.command("show")
def show_(
    name: Name,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Show one device."""
    with operator(server, token) as client:
        device = client.device(name)
    show(device, as_json, device_fields(device))


@app.command()
def logs(
    name: Name,
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Show what a device's Client Manager and training client logged.

    With --follow, --json prints one document a line.
    """
    with operator(server, token) as client:

        def fetch(after: int, limit: int) -> c.LogPage:
            return client.device_logs(name, after, limit)

        write(stream(fetch, lambda: False, follow_it), as_json, follow_it)


@app.command()
def telemetry(
    name: Name,
    last: Annotated[
        int, typer.Option("--last", min=1, max=1_000, help="How many of the newest samples.")
    ] = 20,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Show what a device measured of itself: CPU, memory, disk, network, GPU, battery."""
    with operator(server, token) as client:
        samples = client.device_telemetry(name, last)
    show(samples, as_json, telemetry_table(samples))


@app.command()
def approve(
    name: Name,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Let a device that waits for it take part."""
    _decide(name, "approve", server, token, as_json)


@app.command()
def reject(
    name: Name,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Refuse a device that waits for approval."""
    _decide(name, "reject", server, token, as_json)


@app.command()
def revoke(
    name: Name,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.Json = False,
) -> None:
    """Shut a device out for good: it stops training and its credentials are worthless."""
    _decide(name, "revoke", server, token, as_json)


def _decide(name: str, decision: str, server: str | None, token: str | None, as_json: bool) -> None:
    with operator(server, token) as client:
        device = client.decide_device(name, decision)
    show(device, as_json, f"Device {device.name} is {device.enrolment}.")
