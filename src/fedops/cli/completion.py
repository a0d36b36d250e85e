"""What the TAB key offers for a task, device or run: what the server has, if it answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from fedops.core.errors import FedOpsError

#: Whoever presses TAB waits. Seconds.
_SECONDS = 2.0


def tasks(ctx: click.Context, incomplete: str) -> list[str]:
    """The names of tasks that begin so."""
    return _offered(ctx, incomplete, lambda client: (task.name for task in client.tasks()))


def devices(ctx: click.Context, incomplete: str) -> list[str]:
    """The names of devices that begin so."""
    return _offered(ctx, incomplete, lambda client: (device.name for device in client.devices()))


def runs(ctx: click.Context, incomplete: str) -> list[str]:
    """The numbers of runs that begin so."""
    return _offered(ctx, incomplete, lambda client: (str(run.id) for run in client.runs()))


def commits(ctx: click.Context, incomplete: str) -> list[str]:
    """The newest commits of the task that is named, that begin so."""
    task = ctx.params.get("name")

    def names(client: Any) -> Iterable[str]:
        return (one.commit[:12] for one in client.delivery(task).commits)

    return _offered(ctx, incomplete, names) if task else []


def _offered(
    ctx: click.Context, incomplete: str, names: Callable[[Any], Iterable[str]]
) -> list[str]:
    from fedops.cli.connection import find_login

    try:
        login = find_login(ctx.params.get("server"), None, lambda url: None)
        with login.client(timeout=_SECONDS) as client:
            return [name for name in names(client) if name.startswith(incomplete)]
    except FedOpsError:  # nothing is offered, and nothing said: somebody is typing
        return []
