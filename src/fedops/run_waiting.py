"""Starting a run and waiting for its end, also over a restart of the server; how it ended is a type."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import sleep
from typing import TypeVar

from fedops.api_client import OperatorClient
from fedops.core import contracts as c
from fedops.core.backoff import pauses
from fedops.core.errors import Conflict, FedOpsError, Unavailable
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.waiting import Timeout, outlast

logger = logging.getLogger("fedops.runs")
T = TypeVar("T")

#: Between two looks at a run: soon after something happened, then less and less often. Seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
#: How long a server that is away is waited for. Seconds.
AWAY_SECONDS = 300.0
#: How many of a task's newest runs are looked at for the one whose beginning was not answered.
_NEWEST = 10

Progress = Callable[[c.RunRead], object]


class RunEnded(FedOpsError):
    """A run that was waited for has not made a model. ``run`` is how it was seen last."""

    def __init__(self, message: str, run: c.RunRead) -> None:
        super().__init__(message)
        self.run = run


class RunFailed(RunEnded):
    """It failed: ``run.reason`` and ``run.why`` say of what."""


class RunStopped(RunEnded):
    """Somebody stopped it."""


class RunTimeout(RunEnded):
    """It did not end in the time it was given. It goes on, unless it was to be stopped."""


@dataclass(frozen=True)
class RunResult:
    """A run that completed."""

    run_id: int
    task: str
    #: The global model version that it made. None: an app's own ServerApp played it.
    version: int | None
    #: Why that version is quarantined; "": it is not.
    quarantine: str
    metrics: dict[str, float]
    #: How many rounds it has.
    rounds: int
    seconds: float
    run: c.RunRead


def start_run(client: OperatorClient, task: str, body: c.RunStart) -> c.RunRead:
    """A new run of a task, also if the server goes away in the midst of it: it is never started twice.

    Raises:
        RunBusy: the task has a run going on already; and what ``OperatorClient.start_run`` raises.
    """
    known = _newest(outlasting(lambda: client.runs(task, limit=1)))
    lost = False

    def start() -> c.RunRead:
        nonlocal lost
        if lost and (found := _ours(client.runs(task, limit=_NEWEST), known, body)):
            return found
        try:
            return client.start_run(task, body)
        except Unavailable:
            lost = True
            raise

    return outlasting(start)


def _newest(runs: list[c.RunRead]) -> int:
    return max((run.id for run in runs), default=0)


def _ours(runs: list[c.RunRead], known: int, body: c.RunStart) -> c.RunRead | None:
    """The run that was begun since, as we wanted it begun."""
    fresh = [run for run in runs if run.id > known and run.overrides == list(body.overrides)]
    return min(fresh, key=lambda run: run.id, default=None)


def wait_for_run(
    client: OperatorClient,
    run_id: int,
    *,
    timeout: float | None = None,
    on_progress: Progress | None = None,
    stop_on_timeout: bool = False,
) -> RunResult:
    """Wait until a run has ended. ``timeout`` is in seconds; None: as long as it takes.

    ``on_progress`` gets the run each time that its state or its rounds have changed.

    Raises:
        RunFailed, RunStopped: it ended without a new model.
        RunTimeout: it goes on. With ``stop_on_timeout`` it was told to stop.
        Unavailable: the server was away for five minutes.
    """
    limit = Timeout(timeout)
    for run in _looks(client, run_id, limit, on_progress):
        if run.status in RUN_TERMINAL:
            return _result(run)
        if limit.is_over:
            break
    if not stop_on_timeout:
        raise RunTimeout(f"{_late(run, timeout)}; it goes on: {run.why}", run)
    try:
        run = outlasting(lambda: client.stop_run(run_id))
    except Conflict:  # it ended at this moment
        return _result(outlasting(lambda: client.run(run_id)))
    raise RunTimeout(f"{_late(run, timeout)}, and was told to stop: {run.why}", run)


def _late(run: c.RunRead, seconds: float | None) -> str:
    return f"run {run.id} of {run.task} did not end within {seconds or 0:.0f} s"


def _looks(
    client: OperatorClient, run_id: int, limit: Timeout, on_progress: Progress | None
) -> Iterator[c.RunRead]:
    """The run, again and again: the last time when the time is over."""
    seen, waits = None, pauses(FIRST_PAUSE, LONGEST_PAUSE)
    while True:
        run = outlasting(lambda: client.run(run_id))
        if (news := (run.status, run.committed_rounds)) != seen:
            seen, waits = news, pauses(FIRST_PAUSE, LONGEST_PAUSE)
            if on_progress is not None:
                on_progress(run)
        yield run
        sleep(min(next(waits), limit.seconds_left))


def _result(run: c.RunRead) -> RunResult:
    if run.status is not RunStatus.COMPLETED:
        kind = RunFailed if run.status is RunStatus.FAILED else RunStopped
        raise kind(f"run {run.id} of {run.task} {run.why}", run)
    return RunResult(
        run_id=run.id,
        task=run.task,
        version=run.version,
        quarantine=run.quarantine or "",
        metrics=dict(run.metrics),
        rounds=run.committed_rounds,
        seconds=(run.ended_at or 0.0) - (run.started_at or run.created_at),
        run=run,
    )


def outlasting(call: Callable[[], T], seconds: float = AWAY_SECONDS) -> T:
    """The call's result. A server that is away, as while it is started anew, is asked again for a while."""
    return outlast(call, seconds, pauses=pauses(FIRST_PAUSE, LONGEST_PAUSE), say=logger.warning)
