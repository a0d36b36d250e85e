"""``fedops events``: what happened on the server, and who did it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer

from fedops.api_client import OperatorClient
from fedops.cli import options
from fedops.cli.follow import outlasting
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.federation import event_line
from fedops.core import contracts as c
from fedops.core.printable import printable

app = options.single()
#: Between two looks at the server. Seconds.
INTERVAL = 1.0

Last = Annotated[int, typer.Option("--last", min=1, help="How many of the newest.")]
FollowEvents = Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")]


@operator_command(app)
def events(operator: Operator, last: Last = 50, follow_it: FollowEvents = False) -> None:
    """Show what happened on the server, oldest first, and who did it.

    With --follow, --json prints one document per line.
    """
    show_events(operator, None, last, follow_it)


def show_events(operator: Operator, run_id: int | None, last: int, follow_it: bool) -> None:
    """The newest events, of a run or of the whole server; followed: what comes after, too."""
    found = _all_beyond(operator.client, 0, run_id)
    if not follow_it:
        operator.show(found[-last:], *(event_line(event) for event in found[-last:]))
        return
    _print(found[-last:], operator.as_json)
    after = found[-1].id if found else 0
    while True:
        time.sleep(INTERVAL)
        fresh = outlasting(partial(_all_beyond, operator.client, after, run_id))
        _print(fresh, operator.as_json)
        after = fresh[-1].id if fresh else after


def _all_beyond(client: OperatorClient, after: int, run_id: int | None) -> list[c.EventRead]:
    return list(_beyond(client, after, run_id))


def _beyond(client: OperatorClient, after: int, run_id: int | None) -> Iterator[c.EventRead]:
    """All events beyond an id, page by page."""
    while page := client.events(after=after, run_id=run_id):
        yield from page
        after = page[-1].id


def _line(event: c.EventRead) -> str:
    """An event, and nothing that could be taken for another one."""
    return printable(event_line(event)).replace("\n", "\n    ")


def _print(events: list[c.EventRead], as_json: bool) -> None:
    for event in events:
        text = json.dumps(event.model_dump(mode="json")) if as_json else _line(event)
        sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
