"""``fedops device upgrade``: the server's release of FedOps on devices."""

from __future__ import annotations

from typing import Annotated

import typer

from fedops.cli import completion, options
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.devices import upgrade_view
from fedops.core import contracts as c
from fedops.core.contracts import require_name
from fedops.core.errors import Invalid

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[DEVICE]...", help="Which devices.", autocompletion=completion.devices),
]


def add_upgrade(app: typer.Typer) -> None:
    """The command, among those about devices."""
    operator_command(app)(upgrade)


def upgrade(
    operator: Operator,
    names: Names = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="All devices, also those that come later.")
    ] = False,
    canary: Annotated[
        str, typer.Option("--canary", metavar="SHARE", help="How many are first: 2, or 10%.")
    ] = "1",
    further: Annotated[
        str,
        typer.Option("--further", metavar="SHARE", help="How many of the others in each wave."),
    ] = "100%",
    stop: Annotated[bool, typer.Option("--stop", help="Ask no further device.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show how far it is.")] = False,
    yes: options.Yes = False,
) -> None:
    """Have devices install the server's release of FedOps, a canary first.

    A device does so by itself if its owner has set upgrade = true in [deploy] of device.toml; its Client
    Manager then ends, and its service has to start it again. If the release does not work on a device, that
    device puts the one before back, and no further device is asked.
    """
    if sum((bool(names) or everyone, stop, status)) != 1 or (names and everyone):
        raise Invalid("name devices, or give one of --all, --stop and --status")
    if status:
        _show(operator, operator.client.upgrade())
    elif stop:
        _show(operator, operator.client.stop_upgrade())
    else:
        _begin(operator, names or [], canary, further, yes)


def _begin(operator: Operator, names: list[str], canary: str, further: str, yes: bool) -> None:
    named = [require_name(name) for name in names]
    body = options.request(c.DeviceUpgrade, names=named, canary=canary, further=further)
    which = ", ".join(named) or "all devices"
    options.require_agreed(f"Have {which} install the server's FedOps?", yes)
    _show(operator, operator.client.upgrade_devices(body))


def _show(operator: Operator, found: c.UpgradeRead) -> None:
    operator.show(found, *upgrade_view(found))
