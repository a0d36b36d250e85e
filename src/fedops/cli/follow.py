"""Watching a run until it ends: a live view on a terminal, one line a round elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection, Iterator

from rich.live import Live

from fedops.api import OperatorClient
from fedops.cli.output import console
from fedops.console import round_line, run_view
from fedops.core import contracts as c
from fedops.core.states import RUN_TERMINAL, RunStatus

#: Seconds between two looks at the server.
INTERVAL = 0.5


def follow(client: OperatorClient, run_id: int, quiet: bool) -> c.RunRead:
    """Show a run until it ends (``quiet``: only wait for it)."""
    if quiet:
        return wait_until(client, run_id, RUN_TERMINAL)
    return _live(client, run_id) if sys.stdout.isatty() else _lines(client, run_id)


def wait_until(
    client: OperatorClient,
    run_id: int,
    wanted: Collection[RunStatus],
    seconds: float | None = None,
) -> c.RunRead:
    """The run as soon as it is in one of the states ``wanted``, or as it is after ``seconds``."""
    deadline = None if seconds is None else time.monotonic() + seconds
    for run in _looks(client, run_id):
        late = deadline is not None and time.monotonic() > deadline
        if run.status in wanted or late:
            return run
    raise AssertionError


def _looks(client: OperatorClient, run_id: int) -> Iterator[c.RunRead]:
    pause = threading.Event()
    while True:
        yield client.run(run_id)
        pause.wait(INTERVAL)


def _live(client: OperatorClient, run_id: int) -> c.RunRead:
    with Live(console=console(), auto_refresh=False) as live:
        for run in _looks(client, run_id):
            view = run_view(run, client.rounds(run_id), client.devices(run.task))
            live.update(view, refresh=True)
            if run.status in RUN_TERMINAL:
                return run
    raise AssertionError


def _lines(client: OperatorClient, run_id: int) -> c.RunRead:
    shown, status = 0, ""
    out = console()
    for run in _looks(client, run_id):
        done = [r for r in client.rounds(run_id) if r.committed_at is not None]
        for round_ in done[shown:]:
            out.print(round_line(round_, run.rounds))
        shown = len(done)
        if run.status != status:
            out.print(f"run {run.id} is {run.status}. {run.why}")
            status = run.status
        if run.status in RUN_TERMINAL:
            return run
    raise AssertionError
