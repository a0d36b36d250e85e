"""Makes the training client do what the server wants: which node it is, for which runs it may work.

Work for a run that is not wanted any more is stopped: first by asking, then by ending the process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from fedops.client.local_api import LocalClient
from fedops.client.orders import Assignment, StopOrder
from fedops.client.supervisor import Supervisor
from fedops.core.contracts import Desired, ProcessReport
from fedops.core.errors import FedOpsError
from fedops.core.states import Enrolment, ProcessStatus

logger = logging.getLogger("fedops.client")

#: How long the training client may take to stop working for a run before its process is ended.
STOP_SECONDS = 1.5
_RETRY_SECONDS = 0.5
_RUNS_REMEMBERED = 64
_WORKING = frozenset({ProcessStatus.TRAINING, ProcessStatus.EVALUATING})
_ALIVE = frozenset({ProcessStatus.STARTING, ProcessStatus.IDLE}) | _WORKING


class Steering:
    """One thread that compares what is wanted with what was told and is done."""

    def __init__(
        self, supervisor: Supervisor, token: str, clock_offset: Callable[[], float]
    ) -> None:
        self._supervisor = supervisor
        self._token = token
        self._clock_offset = clock_offset
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="steering", daemon=True)
        self._stopped = False
        self._client: LocalClient | None = None
        self._wanted: Assignment | None = None
        self._told: Assignment | None = None
        self._runs_seen: dict[int, None] = {}  # ordered; the newest last

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(5.0)

    # --- what is known -----------------------------------------------------------------------------

    def want(self, desired: Desired) -> None:
        """The server's wish changed."""
        approved = desired.enrolment is Enrolment.APPROVED
        with self._changed:
            self._wanted = Assignment(
                node_id=desired.node_id if approved else None,
                runs=tuple(sorted(desired.runs)) if approved else (),
                clock_offset=self._clock_offset(),
            )
            self._remember(*self._wanted.runs)
            self._changed.notify_all()

    def ready(self, port: int) -> None:
        """A training client listens on this port."""
        with self._changed:
            self._client = LocalClient(f"http://127.0.0.1:{port}", self._token)
            self._told = None
            self._changed.notify_all()

    def changed(self, report: ProcessReport) -> None:
        """The training client is in another state."""
        with self._changed:
            if report.status not in _ALIVE:
                self._client, self._told = None, None
            if report.run_id is not None:
                self._remember(report.run_id)
            self._changed.notify_all()

    @property
    def training_url(self) -> str | None:
        client = self._client
        return client.url if client else None

    def quiet_runs(self) -> list[int]:
        """The runs that are not wanted any more and for which nothing is done any more, surely."""
        report = self._supervisor.report()
        with self._changed:
            if self._wanted is None:
                return []
            over = [run for run in self._runs_seen if run not in self._wanted.runs]
            if report.status in _ALIVE and self._is_untold():
                return []  # it might begin still
            busy = report.run_id if report.status in _WORKING else None
            return [run for run in over if run != busy]

    def _remember(self, *runs: int) -> None:
        for run in runs:
            self._runs_seen.pop(run, None)
            self._runs_seen[run] = None
        for run in list(self._runs_seen)[:-_RUNS_REMEMBERED]:
            del self._runs_seen[run]

    # --- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if self._stopped:
                    return
            told = self._tell()
            self._stop_unwanted()
            if not told:
                with self._changed:
                    self._changed.wait(_RETRY_SECONDS)

    def _has_work(self) -> bool:
        return self._stopped or self._is_untold() or self._unwanted_run() is not None

    def _is_untold(self) -> bool:
        wanted = self._wanted
        return self._client is not None and wanted is not None and wanted.differs_from(self._told)

    def _tell(self) -> bool:
        """Hand the assignment over, if it is news."""
        with self._changed:
            client, wanted, news = self._client, self._wanted, self._is_untold()
        if not news or client is None or wanted is None:
            return True
        try:
            client.post("/start", wanted)
        except FedOpsError as error:
            logger.debug("the training client was not told yet: %s", error.message)
            return False
        with self._changed:
            if self._client is client:
                self._told = wanted
        return True

    def _unwanted_run(self) -> int | None:
        """The run that is worked for and should not be."""
        report = self._supervisor.report()
        if report.status not in _WORKING or self._wanted is None:
            return None
        return None if report.run_id in self._wanted.runs else report.run_id

    def _stop_unwanted(self) -> None:
        run_id = self._unwanted_run()
        client = self._client
        if run_id is None:
            return
        if client is not None:
            try:
                client.post("/stop", StopOrder(run_id=run_id))
            except FedOpsError as error:
                logger.debug("the training client does not listen: %s", error.message)
        if not self._supervisor.wait_for(lambda r: _is_quiet(r, run_id), STOP_SECONDS):
            reason = f"it went on {STOP_SECONDS:.1f} s after run {run_id} was stopped"
            logger.warning("the training client is ended: %s", reason)
            self._supervisor.replace(reason)
            self._supervisor.wait_for(lambda r: _is_quiet(r, run_id), 10.0)


def _is_quiet(report: ProcessReport, run_id: int) -> bool:
    return report.status not in _WORKING or report.run_id != run_id
