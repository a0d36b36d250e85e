"""Which of the server's tasks a device takes part in."""

from __future__ import annotations

from collections.abc import Sequence

from fedops.core.errors import NotFound
from fedops.core.suggestions import comma_list, did_you_mean


def choose_tasks(wanted: Sequence[str], ready: Sequence[str], server: str) -> list[str]:
    """The tasks wanted, if there are such; the only one there is, if none was named.

    Raises:
        NotFound: no such task, or no name and not exactly one task; the ready ones are listed.
    """
    there = f"ready tasks: {comma_list(sorted(ready))}" if ready else "it has no ready task"
    for name in wanted:
        if name not in ready:
            guess = did_you_mean(name, ready)
            raise NotFound(f"the server at {server} has no ready task '{name}'{guess}; {there}")
    if wanted:
        return list(dict.fromkeys(wanted))
    if len(ready) == 1:
        return list(ready)
    raise NotFound(
        f"which task? Name it (--task, or task_id in the run config); at {server}: {there}"
    )
