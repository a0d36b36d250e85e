"""The training client is in another state: who else must hear of it."""

from __future__ import annotations

from collections.abc import Callable

from fedops.core.contracts import ProcessReport
from fedops.core.states import ProcessStatus

_READY = (ProcessStatus.STARTING, ProcessStatus.IDLE)
_DOWN = (ProcessStatus.BACKOFF, ProcessStatus.FATAL)


class ProcessNews:
    """``tell_now``: a run may wait for it. ``given_up``: it is not started again; with the reason."""

    def __init__(self, tell_now: Callable[[], None], given_up: Callable[[str], None]) -> None:
        self._tell_now = tell_now
        self._given_up = given_up
        self._before: ProcessStatus | None = None

    def take(self, report: ProcessReport) -> None:
        """The state it is in now; by one thread."""
        before, self._before = self._before, report.status
        if (before, report.status) == _READY or report.status in _DOWN:
            self._tell_now()
        if report.status is ProcessStatus.FATAL:
            self._given_up(report.reason or "it ended again and again")
