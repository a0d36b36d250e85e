"""``fedops status``: the whole federation on one screen."""

from __future__ import annotations

from fedops.cli import options
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.federation import FederationStatus, attention, status_view

app = options.single()
#: So many of the newest runs are looked at.
_RUNS = 100


@operator_command(app)
def status(operator: Operator) -> None:
    """Show the whole federation: what needs you first, then what goes on."""
    client = operator.client
    found = FederationStatus(
        client.info(), client.tasks(), client.devices(), client.runs(limit=_RUNS)
    )
    value = {
        "attention": attention(found),
        "server": found.info,
        "tasks": found.tasks,
        "devices": found.devices,
        "runs": [run for run in found.runs if run.ended_at is None],
    }
    operator.show(value, *status_view(found))
