"""Tasks and tokens on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import RenderableType

from fedops.console.format import coloured, fields, moment, or_dash, table, table_of, version_name
from fedops.core import contracts as c


def tasks_table(tasks: Sequence[c.TaskRead]) -> RenderableType:
    if not tasks:
        return "No task yet: 'fedops task create NAME --app PATH' makes one, or --git URL."
    titles = ("TASK", "STATUS", "RUN", "MODEL", "DEVICES", "DESCRIPTION")
    rows = [
        (
            task.name,
            coloured(task.status),
            "-" if task.active_run is None else f"{task.active_run} active",
            version_name(task.latest_version),
            ", ".join(task.devices) or "-",
            task.description,
        )
        for task in tasks
    ]
    return table_of(titles, rows, optional=("DESCRIPTION",))


def task_fields(task: c.TaskRead) -> RenderableType:
    return fields(
        {
            "task": task.name,
            "status": coloured(task.status),
            **({"waits": task.why} if task.why else {}),
            "description": task.description,
            "devices": ", ".join(task.devices),
            "active run": task.active_run,
            "latest model": version_name(task.latest_version),
            "app bundle": task.bundle[:16],
            "created": moment(task.created_at),
            "updated": moment(task.updated_at),
        }
    )


def tokens_table(tokens: Sequence[c.TokenRead]) -> RenderableType:
    if not tokens:
        return "No token yet: 'fedops token create' makes one."
    heads = ("ID", "KIND", "USES LEFT", "EXPIRES", "STATE", "FOR", "NOTE")
    result = table(*heads, right=("ID", "USES LEFT"))
    for token in tokens:
        result.add_row(
            str(token.id),
            token.kind,
            or_dash(token.uses_left),
            moment(token.expires_at),
            _token_state(token),
            _token_bounds(token),
            token.note,
        )
    return result


def _token_bounds(token: c.TokenRead) -> str:
    bounds = [f"task {token.task}" if token.task else "", token.network or ""]
    return ", ".join(filter(None, bounds)) or "-"


def _token_state(token: c.TokenRead) -> str:
    if token.revoked:
        return "revoked"
    if token.uses_left == 0:
        return "used up"
    over = token.expires_at is not None and token.expires_at <= time.time()
    return "expired" if over else "valid"
