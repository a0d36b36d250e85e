"""Maintenance: notices what time alone brings about: silent devices, passed deadlines, files to go.

It also writes what is kept in memory for a moment: who called, and how far devices are with their work.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fedops.core.errors import Unavailable
from fedops.server.assignments import assignments, progress_rows
from fedops.server.database.backup_lock import backup_pause
from fedops.server.database.database import Database
from fedops.server.devices import going_offline, presence_history
from fedops.server.devices.recent_calls import ABSENCE_SECONDS, RecentCalls
from fedops.server.jobs.leadership import Alone, Leadership
from fedops.server.jobs.periodic import PeriodicJob
from fedops.server.jobs.status_log import StatusLog
from fedops.server.protocol.error_replies import log_trouble
from fedops.server.rounds import checkpoints, update_retention
from fedops.server.rounds.work_hub import WorkHub
from fedops.server.runs import stopping, timeouts
from fedops.server.telemetry import system_metrics
from fedops.settings import ServerSettings
from fedops.storage.blobs import BlobStore
from fedops.storage.shortages import shortages, try_folder

STEP_SECONDS = 0.5
#: How often it is looked whether a run waits for something else than before.
WHY_SECONDS = 2.0
#: How often it is tried whether the server's folder can be written to.
TRY_SECONDS = 5.0
#: How often it is looked for telemetry that is too old. A chunk goes at a time.
FORGET_SECONDS = 30.0
#: How often it is looked for results that are not needed any more.
RETAIN_SECONDS = 5.0
#: How far a device is may be known to another Server Manager alone for so long. Seconds.
UNWRITTEN_SECONDS = 2.0
#: How often it is looked for files that nothing was made of.
ORPHANS_SECONDS = 600.0
_DAY = 86_400.0


class Maintenance:
    """Looks at the clock for everybody. Of several that share a database, the one that leads decides."""

    def __init__(
        self,
        db: Database,
        settings: ServerSettings,
        store: BlobStore,
        presence: RecentCalls,
        hub: WorkHub,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        leadership: Leadership | None = None,
    ) -> None:
        self._leadership = leadership or Alone()
        self._led = False
        self._db = db
        self._store = store
        self._presence = presence
        self._hub = hub
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._step_at = monotonic()
        self._why_log = StatusLog()
        self._tried_at = self._why_at = self._forgot_at = self._retained_at = self._orphans_at = (
            float("-inf")
        )
        self.worker = PeriodicJob("maintenance", self.step, STEP_SECONDS)

    def step(self) -> None:
        """One look. Called by the worker, or by a test."""
        now = self._clock()
        self._try_home(now)
        self._notice_own_absence(now)
        self._take_over(now)
        self._write_down(now)
        if self._led:
            self._decide(now)

    def _decide(self, now: float) -> None:
        """What must be decided once, whoever serves the database."""
        self._end_late(now)
        with self._db.read() as session:
            due = stopping.is_any_stopping(session) or timeouts.is_any_waiting(session)
        if due:
            with self._db.write() as session:
                stopping.finish_all_stopping(session, self._settings, now)
                timeouts.fail_overdue(session, self._settings, now)
        self._retain(now)
        self._forget_telemetry(now)
        self._log_why(now)

    def _try_home(self, now: float) -> None:
        """Find out that the machine lacks something before somebody who calls does."""
        if 0 <= now - self._tried_at < TRY_SECONDS:
            return
        self._tried_at = now
        shortage = try_folder(self._settings.home)
        if shortage is not None:
            shortages.note(shortage)
            log_trouble(Unavailable(shortage.text()))

    def _notice_own_absence(self, now: float) -> None:
        """When we were held up, we may not have heard those who did call."""
        before, self._step_at = self._step_at, self._monotonic()
        if self._step_at - before > ABSENCE_SECONDS:
            self._presence.forgive(now)

    def _take_over(self, now: float) -> None:
        """Devices that called a Server Manager that is gone have an interval's grace to call another one."""
        leads = self._leadership.leads
        if self._leadership.shared and leads and not self._led:
            with self._db.write(durable=False) as session:
                going_offline.grant_grace(session, self._settings.heartbeat_seconds, now)
        self._led = leads  # only now: what could not be written is tried again

    def _away(self, now: float) -> bool:
        """Whether a device that was there has been silent for too long, and it is for us to say so."""
        if not self._leadership.shared:
            return self._presence.overdue(now)
        self._presence.prune(now)
        if not self._led:
            return False
        with self._db.read() as session:
            return going_offline.is_any_overdue(session, now)

    def _write_down(self, now: float) -> None:
        """Who called, how far devices are, what they let go of, and who has been silent for too long."""
        away = self._away(now)
        if not (away or self._presence.due(now) or self._hub.dirty):
            return
        seen, released = self._hub.take_seen(), self._hub.take_released()
        calls = self._presence.take(now)
        try:
            with self._db.write(durable=False) as session:
                self._presence.flush(session, calls, self._clock())
                progress_rows.note_progress(session, seen)
                if released:
                    stopping.confirm_released(session, released, self._settings, now)
                if away:
                    going_offline.mark_offline(session, now)
        except BaseException:
            self._hub.give_back(released, seen)
            self._presence.give_back(calls)
            raise

    def _end_late(self, now: float) -> None:
        late = self._late(now)
        if late:
            with self._db.write() as session:
                assignments.expire_assignments(session, late, now)

    def _late(self, now: float) -> dict[str, str]:
        if not self._leadership.shared:
            return self._hub.late(now)
        late = self._hub.late(now - UNWRITTEN_SECONDS)
        if not late:
            return late
        with self._db.read() as session:
            sending = assignments.sending(session, late.keys(), now)
        return {id_: why for id_, why in late.items() if id_ not in sending}

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
            gone = system_metrics.delete_samples_before(session, before)
            presence_history.forget(session, now)
        if gone < system_metrics.CHUNK:
            self._forgot_at = now

    def _retain(self, now: float) -> None:
        """Give up what is not needed any more, now and then, and remove what was given up."""
        if not 0 <= now - self._retained_at < RETAIN_SECONDS:
            with self._db.write(durable=False) as session:
                more = update_retention.give_up_updates(session, self._settings, now)
                if not 0 <= now - self._orphans_at < ORPHANS_SECONDS:
                    self._orphans_at = now
                    checkpoints.give_up_orphans(session, now)
            if not more:
                self._retained_at = now
        self._remove_files(now)

    def _remove_files(self, now: float) -> None:
        """Remove the files that were given up, while no backup copies them."""
        with self._db.read() as session:
            if not checkpoints.has_removals(session):
                return
        with backup_pause(self._settings.home) as may_remove:
            if may_remove:
                with self._db.write() as session:
                    checkpoints.remove(session, self._store, now)
