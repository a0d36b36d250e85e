"""Watching a run until it ends: a live view on a terminal, one line a round elsewhere."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Collection, Iterator
from itertools import repeat
from typing import TypeVar

from rich.console import RenderableType
from rich.live import Live

from fedops.api_client import OperatorClient
from fedops.cli.output import console
from fedops.console.runs import round_line, run_view, score_line, scores_of
from fedops.core import contracts as c
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.waiting import Timeout, outlast

#: Seconds between two looks at the server.
INTERVAL = 0.5
#: How long a server that is away is waited for while something is followed.
AWAY_SECONDS = 120.0
T = TypeVar("T")


def outlasting(call: Callable[[], T], seconds: float = AWAY_SECONDS) -> T:
    """The call's result. A server that is away, as while it is started anew, is asked again for a while."""

    def say(why: str) -> None:
        sys.stderr.write(f"fedops: {why}; trying for {seconds:.0f} s\n")

    return outlast(call, seconds, pauses=repeat(INTERVAL), say=say)


def follow(client: OperatorClient, run_id: int, quiet: bool) -> c.RunRead:
    """Show a run until it ends (``quiet``: only wait for it)."""
    if quiet:
        return wait_until(client, run_id, RUN_TERMINAL)
    return _live(client, run_id) if sys.stdout.isatty() else _lines(client, run_id)


def follow_study(client: OperatorClient, study_id: int, quiet: bool) -> c.StudyRead:
    """Show the runs of a study, one after another, until it is over."""
    seen: set[int] = set()
    while True:
        study = outlasting(lambda: client.study(study_id))
        fresh = [run.id for run in study.runs if run.id not in seen]
        if not fresh and study.closed_at is not None:
            return study
        for run_id in fresh:
            follow(client, run_id, quiet)
            seen.add(run_id)
        if not fresh:
            time.sleep(INTERVAL)


def wait_until(
    client: OperatorClient,
    run_id: int,
    wanted: Collection[RunStatus],
    seconds: float | None = None,
) -> c.RunRead:
    """The run as soon as it is in one of the states ``wanted``, or as it is after ``seconds``."""
    timeout = Timeout(seconds)
    for run in _looks(client, run_id):
        if run.status in wanted or timeout.is_over:
            return run
    raise AssertionError


def _looks(client: OperatorClient, run_id: int) -> Iterator[c.RunRead]:
    while True:
        yield outlasting(lambda: client.run(run_id))
        time.sleep(INTERVAL)


def _live(client: OperatorClient, run_id: int) -> c.RunRead:
    with Live(console=console(), auto_refresh=False) as live:
        for run in _looks(client, run_id):
            view = _view(client, run)
            live.update(view, refresh=True)
            if run.status in RUN_TERMINAL:
                return run
    raise AssertionError


def _view(client: OperatorClient, run: c.RunRead) -> RenderableType:
    return outlasting(lambda: run_view(run, client.rounds(run.id), client.devices(run.task)))


def _news(run: c.RunRead) -> str:
    """Changes when there is something new to say: not with every second, phase or heartbeat."""
    waits = re.match(r"waiting for \d+ more device", run.why)
    return f"{run.status} {waits[0] if waits else ''}"


def _lines(client: OperatorClient, run_id: int) -> c.RunRead:
    shown, said = 0, ""
    scored: set[int] = set()
    out = console()
    for run in _looks(client, run_id):
        rounds = outlasting(lambda: client.rounds(run_id))
        done = [r for r in rounds if r.committed_at is not None]
        for round_ in done[shown:]:
            out.print(round_line(round_, run.rounds))
        # What clients measured of a round's model comes with the next round's replies.
        for round_ in (r for r in done if scores_of(r) and r.round not in scored):
            scored.add(round_.round)
            if round_ in done[:shown]:
                out.print(score_line(round_, run.rounds))
        shown = len(done)
        if (news := _news(run)) != said:
            out.print(f"run {run.id} is {run.status}. {run.why}")
            said = news
        if run.status in RUN_TERMINAL:
            return run
    raise AssertionError
