"""``fedops dashboard``: the server's page in a browser, signed in."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.operator_command import Operator, operator_command

app = options.single()


@operator_command(app)
def dashboard(
    operator: Operator,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser here.")] = False,
) -> None:
    """Show where the server's page is, and a code that signs you in there once, within two minutes."""
    made = operator.client.sign_in_code()
    # Behind '#': a browser sends that to nobody.
    link = f"{operator.client.url}/sign-in#{made.code}"
    if open_it:
        webbrowser.open(link)
    operator.show(
        {"url": f"{operator.client.url}/sign-in", "code": made.code, "link": link},
        f"Open {link}",
    )
