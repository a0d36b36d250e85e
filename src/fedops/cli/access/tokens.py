"""``fedops token``: the tokens with which devices join."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.format import moment
from fedops.console.tasks import tokens_table
from fedops.core import contracts as c
from fedops.core.delivery.install_lines import install_lines
from fedops.core.errors import Invalid

app = options.group("Tokens with which devices join.")

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@operator_command(app)
def create(
    operator: Operator,
    uses: Annotated[int, typer.Option("--uses", min=1, help="How many devices may join.")] = 1,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long it is valid: 15m, 24h, 7d.")
    ] = "15m",
    note: Annotated[str, typer.Option("--note", help="What it is for.")] = "",
    task: Annotated[
        str | None, typer.Option("--task", help="The only task that the devices may take part in.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network", metavar="CIDR", help="Where they may join from, e.g. 192.0.2.0/24."
        ),
    ] = None,
) -> None:
    """Make a join token. It is shown once and stored only as a hash."""
    given = {"uses": uses, "note": note, "task": task, "network": network}
    body = options.request(c.TokenCreate, expires_in_seconds=seconds(expires), **given)
    where = operator.client.info().join_url or operator.client.url
    made = operator.client.create_token(body)
    operator.show(
        made,
        f"{made.token}\n",
        f"Valid until {moment(made.expires_at)} for {uses} device{'s' if uses > 1 else ''}. "
        f"On the device:\n  FEDOPS_JOIN_TOKEN={made.token} fedops join {where}\n"
        "If it has no FedOps yet, install it from this server, and call it as fedops/bin/fedops above:\n  "
        + "\n  ".join(install_lines(where)),
    )


@operator_command(app, "list")
def list_(operator: Operator) -> None:
    """List the tokens (never the secrets)."""
    tokens = operator.client.tokens()
    operator.show(tokens, tokens_table(tokens))


@operator_command(app)
def revoke(
    operator: Operator,
    token_id: Annotated[int, typer.Argument(metavar="ID", help="As 'fedops token list' shows it.")],
) -> None:
    """Make a token worthless. Devices that joined with it stay."""
    revoked = operator.client.revoke_token(token_id)
    operator.show(revoked, f"Token {revoked.id} is revoked.")


def seconds(text: str) -> float:
    """``90``, ``30m``, ``24h``, ``7d`` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip().lower())
    value = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if value <= 0:
        raise Invalid(f"--expires '{text}' is no time; write it like 90s, 30m, 24h or 7d")
    return value
