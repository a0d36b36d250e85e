"""The sweeper: notices what time alone brings about: silent devices, stops that are due, files to go."""

from __future__ import annotations

import time
from collections.abc import Callable

from fedops.server import checkpoints, devices, stops
from fedops.server.artifacts import ArtifactStore
from fedops.server.backup_lock import backup_pause
from fedops.server.db import Database
from fedops.server.worker import Worker
from fedops.settings import ServerSettings

SWEEP_SECONDS = 0.5


class Sweeper:
    """Looks at the clock for everybody."""

    def __init__(
        self,
        db: Database,
        settings: ServerSettings,
        store: ArtifactStore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._store = store
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
        self._remove_files(now)

    def _remove_files(self, now: float) -> None:
        """Remove the checkpoints that were given up, while no backup copies them."""
        with self._db.read() as session:
            if not checkpoints.waiting(session):
                return
        with backup_pause(self._settings.home) as may_remove:
            if may_remove:
                with self._db.write() as session:
                    checkpoints.remove(session, self._store, now)
