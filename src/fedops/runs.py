"""Runs from Python: start one and wait for its model, for a CI job, a notebook or a scheduler.

>>> from fedops.runs import RunFailed, start_and_wait
>>> result = start_and_wait("mnist", server=url, token=token, timeout=3600)  # doctest: +SKIP
>>> result.version, result.metrics["accuracy"]  # doctest: +SKIP
(4, 0.97)
"""

from __future__ import annotations

from collections.abc import Sequence

from fedops.cli.connection import find_login
from fedops.core.contracts import RunStart
from fedops.core.errors import RunBusy
from fedops.run_waiting import (
    Progress,
    RunEnded,
    RunFailed,
    RunResult,
    RunStopped,
    RunTimeout,
    start_run,
    wait_for_run,
)

__all__ = [
    "RunBusy",
    "RunEnded",
    "RunFailed",
    "RunResult",
    "RunStopped",
    "RunTimeout",
    "start_and_wait",
]


def start_and_wait(
    task: str,
    *,
    server: str | None = None,
    token: str | None = None,
    overrides: Sequence[str] = (),
    timeout: float | None = None,
    on_progress: Progress | None = None,
    stop_on_timeout: bool = False,
) -> RunResult:
    """Start a run of ``task`` and wait until it has made its model.

    ``server`` and ``token`` default to ``FEDOPS_SERVER`` and ``FEDOPS_TOKEN``, then to what ``fedops login``
    remembers. ``overrides`` are keys of the config for this run, such as ``"num_rounds=10"``. ``timeout`` is
    in seconds. ``on_progress`` gets the run each time that its state or its rounds have changed. The server
    may be started anew meanwhile: the run is started once, and waited for.

    Raises:
        RunFailed, RunStopped: it ended without a model; ``error.run.why`` says why.
        RunTimeout: it did not end in time. It goes on, unless ``stop_on_timeout`` is set.
        RunBusy: the task has a run going on already.
        NotFound, Invalid, Forbidden: there is no such task, an override is wrong, the token may not do this.
        Unavailable: the server was away for five minutes.
    """
    with find_login(server, token).client() as client:
        run = start_run(client, task, RunStart(overrides=list(overrides)))
        return wait_for_run(
            client,
            run.id,
            timeout=timeout,
            on_progress=on_progress,
            stop_on_timeout=stop_on_timeout,
        )
