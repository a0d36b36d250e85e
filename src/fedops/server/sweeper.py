"""The sweeper: notices what time alone brings about: devices that fall silent, stops that are due."""

from __future__ import annotations

import time
from collections.abc import Callable

from fedops.server import devices, stops
from fedops.server.db import Database
from fedops.server.worker import Worker
from fedops.settings import ServerSettings

SWEEP_SECONDS = 0.5


class Sweeper:
    """Looks at the clock for everybody."""

    def __init__(
        self, db: Database, settings: ServerSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._db = db
        self._settings = settings
        self._clock = clock
        self.worker = Worker("sweeper", self.step, SWEEP_SECONDS)

    def step(self) -> None:
        """One look. Called by the worker, or by a test."""
        now = self._clock()
        with self._db.write(durable=False) as session:
            devices.note_offline(session, self._settings.heartbeat_seconds, now)
        with self._db.write() as session:
            stops.settle_all(session, self._settings, now)
