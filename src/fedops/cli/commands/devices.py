"""``fedops device``: the enrolled machines."""

from __future__ import annotations

from typing import Annotated

import typer

from fedops.cli import completion, options
from fedops.cli.delivery.upgrades import add_upgrade
from fedops.cli.insight.benches import add_to_devices
from fedops.cli.logs import stream, write
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.devices import device_fields, devices_table, touched_view
from fedops.console.telemetry_table import telemetry_table
from fedops.core import contracts as c

app = options.group("Enrolled devices.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE",
        help="The device's name.",
        callback=options.named,
        autocompletion=completion.devices,
    ),
]


@operator_command(app, "list")
def list_(
    operator: Operator,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="Only those that are enrolled in this task.",
            callback=options.named,
            autocompletion=completion.tasks,
        ),
    ] = None,
) -> None:
    """List the devices, with what each is doing and why."""
    devices = operator.client.devices(task)
    operator.show(devices, devices_table(devices))


@operator_command(app, "show")
def show_(operator: Operator, name: Name) -> None:
    """Show one device."""
    device = operator.client.device(name)
    operator.show(device, device_fields(device))


@operator_command(app)
def logs(
    operator: Operator,
    name: Name,
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show what a device's Client Manager and training client logged.

    With --follow, --json prints one document per line.
    """

    def fetch(after: int, limit: int) -> c.LogPage:
        return operator.client.device_logs(name, after=after, limit=limit)

    write(stream(fetch, lambda: False, follow_it), operator.as_json, follow_it)


@operator_command(app)
def telemetry(
    operator: Operator,
    name: Name,
    last: Annotated[
        int, typer.Option("--last", min=1, max=1_000, help="How many of the newest samples.")
    ] = 20,
) -> None:
    """Show what a device measured of itself: CPU, memory, disk, network, GPU, battery."""
    samples = operator.client.device_telemetry(name, last)
    operator.show(samples, telemetry_table(samples))


@operator_command(app)
def tag(
    operator: Operator,
    name: Name,
    tags: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TAG]...", help="All that it is to have. None: it has none."),
    ] = None,
) -> None:
    """Give a device tags. ``tag:TAG`` in --devices of a run means all devices that have this one."""
    device = operator.client.tag_device(name, options.request(c.DeviceTags, tags=tags or []))
    said = f"has the tags {', '.join(device.tags)}" if device.tags else "has no tag"
    operator.show(device, f"Device {device.name} {said} now.")


@operator_command(app)
def rename(
    operator: Operator,
    name: Name,
    new: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="What it is called from now on.", callback=options.named
        ),
    ],
) -> None:
    """Call a device by another name. Its rounds and logs stay its own, and the device hears of it."""
    body = options.request(c.DeviceRename, name=new)
    device = operator.client.rename_device(name, body)
    operator.show(device, f"Device {name} is called {device.name} now.")


@operator_command(app)
def approve(operator: Operator, name: Name) -> None:
    """Let a device that waits for it take part."""
    _decide(operator, name, "approve")


@operator_command(app)
def reject(operator: Operator, name: Name, yes: options.Yes = False) -> None:
    """Refuse a device that waits for approval, for good."""
    options.require_sure(f"Reject device '{name}' for good?", yes)
    _decide(operator, name, "reject")


@operator_command(app)
def quarantine(
    operator: Operator,
    name: Name,
    because: options.Because,
    keep_versions: Annotated[
        bool, typer.Option("--keep-versions", help="Leave the versions that it touched in use.")
    ] = False,
) -> None:
    """Ask a device for nothing more, and quarantine the versions that its updates are in."""
    found = operator.client.quarantine_device(name, because, keep_versions)
    operator.show(found, f"Device {name} is {found.device.enrolment}.", *touched_view(found))


@operator_command(app)
def release(operator: Operator, name: Name, because: options.Because) -> None:
    """Let a quarantined device take part again. The versions that it touched stay as they are."""
    found = operator.client.release_device(name, because)
    operator.show(found, f"Device {name} takes part again.", *found.next_steps)


@operator_command(app)
def touched(operator: Operator, name: Name) -> None:
    """List the runs, rounds and versions that a device's updates are in."""
    found = operator.client.touched(name)
    operator.show(found, *touched_view(found))


@operator_command(app)
def revoke(operator: Operator, name: Name, yes: options.Yes = False) -> None:
    """Shut a device out for good: it stops training and its credentials are worthless."""
    options.require_sure(f"Shut device '{name}' out for good?", yes)
    _decide(operator, name, "revoke")


@operator_command(app)
def remove(operator: Operator, name: Name, yes: options.Yes = False) -> None:
    """Forget a device that will not come back. Its rounds keep it, and its name is free again.

    A device that is still there is shut out; it can join again as a new one.
    """
    options.require_sure(f"Remove device '{name}'?", yes)
    device = operator.client.decide_device(name, "remove")
    operator.show(device, f"Device {name} is removed; its name is free.")


def _decide(operator: Operator, name: str, decision: str) -> None:
    device = operator.client.decide_device(name, decision)
    operator.show(device, f"Device {device.name} is {device.enrolment}.")


add_upgrade(app)
add_to_devices(app)
