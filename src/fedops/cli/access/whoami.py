"""``fedops whoami``: as whom the other commands act."""

from __future__ import annotations

from fedops.cli import options
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.users import whoami_fields

app = options.single()


@operator_command(app)
def whoami(operator: Operator) -> None:
    """Show the user whose token you use, and what it lets you do."""
    found = operator.client.whoami()
    operator.show(found, whoami_fields(operator.client.url, found))
