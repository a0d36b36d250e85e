"""Looks at the schedules of all tasks: what is due begins, what has ended is judged.

Of several Server Managers that share a database, the one that leads acts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from fedops.core.errors import FedOpsError, Unavailable
from fedops.server.database.database import Database
from fedops.server.delivery.schedules import (
    beginning,
    firing_rows,
    promotion,
    schedules,
    watches,
)
from fedops.server.jobs.leadership import Alone, Leadership
from fedops.server.jobs.periodic import PeriodicJob

logger = logging.getLogger("fedops.server")
STEP_SECONDS = 1.0
#: How often it is looked whether devices are to look at their data.
WATCH_SECONDS = 5.0


class Schedules:
    """Everything it does may be done again: it decides by what is in the database."""

    def __init__(
        self,
        db: Database,
        *,
        clock: Callable[[], float] = time.time,
        leadership: Leadership | None = None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._leadership = leadership or Alone()
        self._watched_at = float("-inf")
        self.worker = PeriodicJob("schedules", self.step, STEP_SECONDS)

    def step(self) -> None:
        """One pass. Called by the worker, or by a test."""
        if not self._leadership.leads:
            return
        errors = []
        for part in (self._settle, self._look, self._begin, self._watch):
            try:
                part()
            except FedOpsError as error:  # the other parts go on without it
                errors.append(error)
        if errors:
            raise errors[0]

    @contextmanager
    def _write(self) -> Iterator[Session]:
        """A transaction of the one that leads."""
        with self._db.write() as session:
            self._leadership.confirm(session)
            yield session

    def _settle(self) -> None:
        with self._db.read() as session:
            over = firing_rows.firings_to_settle(session)
        for firing_id in over:
            with self._write() as session:
                promotion.settle(session, firing_id, self._clock())

    def _look(self) -> None:
        with self._db.read() as session:
            now = self._clock()
            due = [
                (task, name)
                for task, name in schedules.active_schedules(session)
                if self._is_news(session, task, name, now)
            ]
        for task, name in due:
            with self._write() as session:
                schedules.take_note(session, task, name, now)

    def _is_news(self, session: Session, task: str, name: str, now: float) -> bool:
        """One schedule that cannot be read keeps no other from firing."""
        try:
            return schedules.look_at(session, task, name, now).is_news
        except Unavailable:
            raise
        except (FedOpsError, ValueError) as error:
            logger.error("schedule '%s' of task '%s' cannot fire: %s", name, task, error)
            return False

    def _begin(self) -> None:
        with self._db.read() as session:
            found = firing_rows.tasks_that_wait(session)
            waiting = [task for task in found if beginning.is_news(session, task)]
        for task in waiting:
            with self._write() as session:
                beginning.begin_waiting(session, task, self._clock())

    def _watch(self) -> None:
        now = self._clock()
        if 0 <= now - self._watched_at < WATCH_SECONDS:
            return
        self._watched_at = now
        with self._db.read() as session:
            wanted = [
                wish for wish in watches.wishes(session) if watches.due_devices(session, wish, now)
            ]
        for wish in wanted:
            with self._write() as session:
                watches.offer_looks(session, wish, now)
