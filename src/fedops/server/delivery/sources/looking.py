"""Looks at the sources that are due: several at a time, none in the way of another, no transaction open."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from sqlalchemy import select

from fedops.core.backoff import pause_after
from fedops.core.errors import Conflict, FedOpsError
from fedops.server.database.tables import SourceRow
from fedops.server.delivery.repositories.folder_source import look_at_folder
from fedops.server.delivery.repositories.found import Found
from fedops.server.delivery.repositories.mirrors import Mirrors
from fedops.server.delivery.repositories.source_url import parse_url
from fedops.server.delivery.sources import hooks, task_sources
from fedops.server.delivery.sources.task_sources import DueSource
from fedops.server.delivery.transactions import Transactions

logger = logging.getLogger("fedops.server.delivery")

_AT_ONCE = 4
#: How long a step waits for its looks. Those that take longer go on beside the next steps. Seconds.
WAIT_SECONDS = 5.0
#: From a look that failed to the next: at first, and at most. Seconds.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3_600.0
#: How often it is looked for what is not needed any more. Seconds.
TIDY_SECONDS = 3_600.0


class SourceWatch:
    """What happens to a source is in the database; what is remembered here is no loss."""

    def __init__(
        self,
        transactions: Transactions,
        mirrors: Mirrors,
        private: Sequence[Path],
        *,
        clock: Callable[[], float] = time.time,
        found: Callable[[], None] = lambda: None,
    ) -> None:
        """``private``: folders that are no source. ``found`` is called after each look."""
        self._transactions = transactions
        self._mirrors = mirrors
        self._private = private
        self._clock = clock
        self._found = found
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="source-watch")
        self._lock = threading.Lock()
        self._underway: dict[str, Future[None]] = {}
        self._failures: dict[str, int] = {}
        self._tidied_at = float("-inf")

    def step(self) -> None:
        """Begin the looks that are due, and wait a moment for them."""
        now = self._clock()
        with self._transactions.read() as session:
            due = task_sources.sources_due(session, now)
        begun = [future for one in due if (future := self._begin(one, now)) is not None]
        wait(begun, timeout=WAIT_SECONDS)
        if not 0 <= now - self._tidied_at < TIDY_SECONDS:
            self._tidied_at = now
            self._tidy(now)

    def close(self) -> None:
        """Begin no more. What goes on ends by its own limits, or with this process."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, due: DueSource, now: float) -> Future[None] | None:
        with self._lock:
            going = self._underway.get(due.task)
            if going is not None and not going.done():
                return None
            self._underway[due.task] = self._pool.submit(self._look, due, now)
            return self._underway[due.task]

    def _look(self, due: DueSource, now: float) -> None:
        try:
            self._record(due, self._read(due), now)
        except Conflict as error:  # another Server Manager leads now
            logger.info("the source of task %s: %s", due.task, error.message)
        except Exception:  # nobody asks for what becomes of it in the pool
            logger.exception("the source of task %s could not be looked at", due.task)

    def _read(self, due: DueSource) -> Found | str:
        """What the source has, or why it could not be read."""
        try:
            url = parse_url(due.url, self._private)
            if url.folder is not None:
                return look_at_folder(url.folder, due.subfolder)
            with self._mirrors.of_task(due.task) as mirror:
                return mirror.look(due.url, due.ref, due.commit)
        except FedOpsError as error:
            return error.message
        except OSError as error:
            return f"{error.filename or 'the source'} cannot be read: {error.strerror or error}"

    def _record(self, due: DueSource, found: Found | str, looked_at: float) -> None:
        now = self._clock()
        failures = 0 if isinstance(found, Found) else self._failures.get(due.task, 0) + 1
        self._failures[due.task] = failures
        with self._transactions.write() as session:
            if isinstance(found, Found):
                task_sources.record_look(session, due, found, looked_at, now)
            else:
                first = min(max(due.poll_seconds, FIRST_PAUSE), LONGEST_PAUSE)
                again_at = now + pause_after(failures, first, LONGEST_PAUSE)
                task_sources.record_problem(session, due, found, looked_at, again_at)
        self._found()

    def _tidy(self, now: float) -> None:
        with self._transactions.write() as session:
            hooks.forget_old(session, now)
            needed = set(session.scalars(select(SourceRow.task)))
        self._mirrors.tidy(needed)
