"""Watching a run until it ends: one line a round, and on a terminal below them what goes on now."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import repeat
from typing import TypeVar

from rich.live import Live

from fedops.api_client import OperatorClient
from fedops.cli.output import console
from fedops.console.runs import going_view, round_line, run_sentence, score_line, scores_of
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
    """Show a run until it ends (``quiet``: only wait for it). How it ended is left to the caller."""
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
    """Its rounds go by, and below them stands what goes on now."""
    with Live(console=console(), auto_refresh=False, transient=True) as live:

        def show(run: c.RunRead) -> None:
            live.update(going_view(run, outlasting(lambda: client.devices(run.task))), refresh=True)

        return _tell(client, run_id, lambda text: live.console.print(text, soft_wrap=True), show)


def _lines(client: OperatorClient, run_id: int) -> c.RunRead:
    out, said = console(), ""

    def show(run: c.RunRead) -> None:
        nonlocal said
        if (news := _news(run)) != said:
            out.print(run_sentence(run), soft_wrap=True)
            said = news

    return _tell(client, run_id, lambda text: out.print(text, soft_wrap=True), show)


def _news(run: c.RunRead) -> str:
    """Changes when there is something new to say: not with every second, phase or heartbeat."""
    waits = re.match(r"waiting for \d+ more device", run.why)
    return f"{run.status} {waits[0] if waits else ''}"


def _tell(
    client: OperatorClient,
    run_id: int,
    say: Callable[[str], None],
    show: Callable[[c.RunRead], None],
) -> c.RunRead:
    """Say each round once, and show how the run is, until it ends."""
    rounds = RoundLines()
    for run in _looks(client, run_id):
        over = run.status in RUN_TERMINAL
        for line in rounds.new(outlasting(lambda: client.rounds(run_id)), run.rounds, over):
            say(line)
        if over:
            return run
        show(run)
    raise AssertionError


class RoundLines:
    """A line for each round that is committed, once.

    What clients measured of a round's model comes with the next round's replies, and stands in its line.
    """

    def __init__(self) -> None:
        self._shown: set[int] = set()
        self._scored: set[int] = set()

    def new(self, rounds: Sequence[c.RoundRead], of: int, over: bool = False) -> Iterator[str]:
        """What there is to say of them now. ``over``: no other round follows."""
        for round_ in (r for r in rounds if r.committed_at is not None):
            if round_.round not in self._shown:
                yield round_line(round_, of, self._late(rounds, before=round_.round))
                self._shown.add(round_.round)
                self._scored |= {round_.round} if scores_of(round_) else set()
        if over:
            yield from (score_line(late, of) for late in self._late(rounds))

    def _late(self, rounds: Sequence[c.RoundRead], before: float = math.inf) -> list[c.RoundRead]:
        late = [
            r
            for r in rounds
            if r.round in self._shown - self._scored and r.round < before and scores_of(r)
        ]
        self._scored |= {r.round for r in late}
        return late
