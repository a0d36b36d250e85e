"""The sweeper: notices what time alone brings about: silent devices, passed deadlines, files to go."""

from __future__ import annotations

import time
from collections.abc import Callable

from fedops.server import checkpoints, devices, overdue, stops, telemetry
from fedops.server.artifacts import ArtifactStore
from fedops.server.backup_lock import backup_pause
from fedops.server.db import Database
from fedops.server.why_log import WhyLog
from fedops.server.worker import Worker
from fedops.settings import ServerSettings

SWEEP_SECONDS = 0.5
#: How often it is looked whether a run waits for something else than before.
WHY_SECONDS = 2.0
#: How often it is looked for telemetry that is too old. A chunk goes at a time.
FORGET_SECONDS = 30.0
_DAY = 86_400.0


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
        self._why_log = WhyLog()
        self._why_at = self._forgot_at = float("-inf")
        self.worker = Worker("sweeper", self.step, SWEEP_SECONDS)

    def step(self) -> None:
        """One look. Called by the worker, or by a test."""
        now = self._clock()
        with self._db.write(durable=False) as session:
            devices.note_offline(session, self._settings.heartbeat_seconds, now)
        with self._db.write() as session:
            stops.settle_all(session, self._settings, now)
            overdue.end_overdue(session, self._settings, now)
        self._remove_files(now)
        self._forget_telemetry(now)
        self._log_why(now)

    def _log_why(self, now: float) -> None:
        if 0 <= now - self._why_at < WHY_SECONDS:
            return
        self._why_at = now
        with self._db.read() as session:
            self._why_log.look(session, self._settings, now)

    def _forget_telemetry(self, now: float) -> None:
        if 0 <= now - self._forgot_at < FORGET_SECONDS:
            return
        before = now - self._settings.telemetry_days * _DAY
        with self._db.write(durable=False) as session:
            gone = telemetry.forget(session, before)
        if gone < telemetry.CHUNK:
            self._forgot_at = now

    def _remove_files(self, now: float) -> None:
        """Remove the checkpoints that were given up, while no backup copies them."""
        with self._db.read() as session:
            if not checkpoints.waiting(session):
                return
        with backup_pause(self._settings.home) as may_remove:
            if may_remove:
                with self._db.write() as session:
                    checkpoints.remove(session, self._store, now)
