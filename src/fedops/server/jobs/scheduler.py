"""The scheduler: makes the FL servers that run equal to what the database says, step by step.

A step can be repeated and interrupted anywhere: whatever it finds half done, it takes for lost and does
anew.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.orm import Session

from fedops.core.backoff import pause_after
from fedops.core.contracts import EngineTicket
from fedops.core.errors import Conflict, FedOpsError, Invalid
from fedops.core.reasons.durations import duration
from fedops.core.states import AttemptStatus, FailureReason, RunStatus
from fedops.failpoints import reached
from fedops.server.database.database import Database
from fedops.server.delivery.packages.engine_environments import (
    EngineEnvironment,
    servers_own,
)
from fedops.server.jobs.app_folders import AppFolders
from fedops.server.jobs.engine_process import EngineProcesses
from fedops.server.jobs.leadership import Alone, Leadership
from fedops.server.jobs.periodic import PeriodicJob
from fedops.server.rounds.engine_liveness import EngineLiveness
from fedops.server.rounds.engine_session import spool_dir, spools
from fedops.server.runs import attempts, studies
from fedops.server.runs.attempts import EngineJob, FinishedEngineJob, LiveAttempt
from fedops.server.runs.transitions import fail_run
from fedops.server.telemetry import log_store
from fedops.settings import ServerSettings
from fedops.storage.blobs import BlobStore

logger = logging.getLogger("fedops.server.scheduler")

#: From step to step while attempts live, and while none does. What is asked for wakes it anyway.
STEP_SECONDS = 0.25
IDLE_SECONDS = 5.0
#: From "stop" to ending the FL server, and to killing it.
STOP_SECONDS = 1.0
KILL_SECONDS = 2.0
#: How long the process of an attempt that said goodbye may take to end.
GOODBYE_SECONDS = 5.0
#: A step that comes so much later than planned shows that this process itself stood still.
ABSENCE_SECONDS = 5.0
LOG_CHARACTERS = 1_500
#: Of them a reason names the last line, up to so many characters.
_LINE = 500
#: What the engine of before this one kept in the home folder.
_LEFT_OVER = ("attempts", "engine/superlink.log", "engine/superlink.pid", "engine/flwr/apps")
#: After so long without losing an attempt, a run's next loss counts as the first for its pauses.
FORGIVE_SECONDS = 60.0


@dataclass
class Backoff:
    """Waits longer after each failure in a row."""

    first: float = 0.5
    cap: float = 15.0
    failures: int = 0
    until: float = 0.0

    def failed(self, now: float) -> None:
        """Wait before the next try; the first failure costs nothing."""
        delay = pause_after(self.failures, self.first, self.cap) if self.failures else 0.0
        self.failures, self.until = self.failures + 1, now + delay


@dataclass
class _Memory:
    """What the scheduler remembers between steps; losing it does no harm."""

    step_at: float = float("-inf")
    #: Attempts that end: since when.
    ending: dict[int, float] = field(default_factory=dict)
    #: Runs that lost an attempt not long ago.
    runs: dict[int, Backoff] = field(default_factory=dict)


class Scheduler:
    """Runs and attempts, kept in step with the FL servers."""

    def __init__(
        self,
        db: Database,
        engines: EngineProcesses,
        artifacts: BlobStore,
        settings: ServerSettings,
        pulse: EngineLiveness,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        leadership: Leadership | None = None,
        environment_of: Callable[[str, str], EngineEnvironment] = servers_own,
    ) -> None:
        self._db = db
        self._leadership = leadership or Alone()
        self._environment_of = environment_of
        self._engines = engines
        self._artifacts = artifacts
        self._apps = AppFolders(settings.engine_folder / "engine" / "apps")
        self._settings = settings
        self._pulse = pulse
        self._clock = clock
        self._monotonic = monotonic
        self._memory = _Memory()
        self._begun = False
        self._stands_by = False
        self.worker = PeriodicJob("scheduler", self.step, STEP_SECONDS)

    def step(self) -> None:
        """One pass. Called by the worker, or by a test."""
        if not self._leadership.leads:
            self._stand_by()
            return
        if not self._begun:
            self._begin()
        self._notice_own_absence()
        parts = (self._watch, self._clear, self._continue_studies, self._submit)
        errors = [e for part in parts if (e := _error_of(part))]
        if errors:
            raise errors[0]

    def _notice_own_absence(self) -> None:
        """When we were held up, we may not have heard those who did call."""
        now, memory = self._monotonic(), self._memory
        if now - memory.step_at > self.worker.seconds + ABSENCE_SECONDS:
            self._pulse.forgive()
        memory.step_at = now

    def _stand_by(self) -> None:
        """Another Server Manager leads: what we started, or an earlier life of ours, ends."""
        if self._stands_by:
            return
        self._engines.close()
        shutil.rmtree(spools(self._settings.engine_folder), ignore_errors=True)
        self._memory = _Memory()
        self._begun, self._stands_by = False, True
        self.worker.seconds = IDLE_SECONDS
        logger.info("another Server Manager of this database leads: this one starts no FL servers")

    @contextmanager
    def _write(self) -> Iterator[Session]:
        """A transaction of the one that leads."""
        with self._db.write() as session:
            self._leadership.confirm(session)
            yield session

    def _begin(self) -> None:
        """What an earlier life of the server began, nobody executes any more."""
        self._engines.clean()
        self._apps.clear()
        for name in _LEFT_OVER:
            _remove(self._settings.home / name)
        why = "the Server Manager was restarted"
        if self._leadership.shared:
            logger.info("this Server Manager leads: it starts the FL servers")
            why = "another Server Manager leads now"
        with self._write() as session:
            for attempt in attempts.live_attempts(session, self._settings):
                attempts.mark_lost(session, attempt.attempt_id, why, self._clock(), counts=False)
        reached("server.resume.lost")
        self._begun, self._stands_by = True, False

    # --- attempts that live ------------------------------------------------------------------------

    def _watch(self) -> None:
        with self._db.read() as session:
            live = attempts.live_attempts(session, self._settings)
        self.worker.seconds = STEP_SECONDS if live else IDLE_SECONDS
        for attempt in live:
            if attempt.run_status in (RunStatus.STOPPING, RunStatus.PAUSING):
                self._end(attempt)
            elif (why := self._what_ended(attempt)) is not None:
                self._lose(attempt, why)
        known = {attempt.attempt_id for attempt in live}
        self._pulse.keep(known)
        for attempt_id in self._memory.ending.keys() - known:
            del self._memory.ending[attempt_id]

    def _what_ended(self, attempt: LiveAttempt) -> str | None:
        """None when the attempt goes on, else what happened to it."""
        how = self._engines.how_ended(attempt.attempt_id)
        if attempt.status is AttemptStatus.STARTING:
            return self._why_not_started(attempt, how)
        if how is not None:
            return f"its FL server (process {attempt.pid}) died: {how}"
        return self._why_hung(attempt)

    def _why_not_started(self, attempt: LiveAttempt, how: str | None) -> str | None:
        if how is not None:
            return f"its FL server ended before it began: {how}"
        limit = self._settings.attempt_start_seconds
        if self._clock() - attempt.started_at > limit:
            return f"its FL server did not begin within {limit:.0f} s"
        return None

    def _why_hung(self, attempt: LiveAttempt) -> str | None:
        limit = self._settings.attempt_silence_seconds
        if (silence := self._pulse.silence(attempt.attempt_id)) > limit:
            who = f"its FL server (process {attempt.pid})"
            return f"{who} fell silent: last heard {duration(silence)} ago, limit {duration(limit)}"
        lasting = self._clock() - attempt.phase_since
        if lasting > attempt.phase_seconds:
            what = f"its FL server (process {attempt.pid}) does not get on: {attempt.phase}"
            return f"{what} for {duration(lasting)}, limit {duration(attempt.phase_seconds)}"
        return None

    def _lose(self, attempt: LiveAttempt, why: str) -> None:
        """End what is left of it, then let the run go on with the next one."""
        self._engines.end(attempt.attempt_id, at_once=True)
        log = self._engines.last_words(attempt.attempt_id)[-LOG_CHARACTERS:].strip()
        text = f"{why}; its last words: {_last_line(log)}" if log else why
        named = {"run_id": attempt.run_id, "attempt": attempt.number}
        said = "attempt %d of run %d is lost: %s"
        logger.warning(said, attempt.number, attempt.run_id, text, extra=named)
        with self._write() as session:
            attempts.mark_lost(session, attempt.attempt_id, text, self._clock())
            reached("server.attempt.lose.inside")
            if log:
                at, limit = self._clock(), self._settings.log_bytes
                log_store.store_last_words(session, attempt.attempt_id, log, limit, at)
        self._pause_run(attempt.run_id)

    def _end(self, attempt: LiveAttempt) -> None:
        """Its run is stopped or paused, and it was told so; when it does not end by itself, end it."""
        now = self._monotonic()
        waited = now - self._memory.ending.setdefault(attempt.attempt_id, now)
        if waited >= STOP_SECONDS:
            self._engines.end(attempt.attempt_id, at_once=waited >= KILL_SECONDS)
        if self._engines.how_ended(attempt.attempt_id) is not None:
            why = f"the run is {attempt.run_status.value}"
            with self._write() as session:
                attempts.cancel_attempt(session, attempt.attempt_id, why, self._clock())

    # --- attempts that are over --------------------------------------------------------------------

    def _clear(self) -> None:
        """Remove what attempts that are over left, once their process is gone."""
        with self._db.read() as session:
            over = attempts.attempts_to_clear(session)
        for left in over:
            if self._is_gone(left):
                folder = spool_dir(self._settings.engine_folder, left.run_id, left.number)
                shutil.rmtree(folder, ignore_errors=True)
                self._engines.forget(left.attempt_id)
                with self._write() as session:
                    attempts.mark_cleared(session, left.attempt_id, self._clock())
            else:
                self.worker.seconds = STEP_SECONDS

    def _is_gone(self, left: FinishedEngineJob) -> bool:
        if self._engines.how_ended(left.attempt_id) is not None:
            return True
        said_goodbye = left.status is AttemptStatus.ENDED
        if not said_goodbye or self._clock() - left.ended_at > GOODBYE_SECONDS:
            self._engines.end(left.attempt_id, at_once=True)
        return self._engines.how_ended(left.attempt_id) is not None

    # --- attempts to come --------------------------------------------------------------------------

    def _continue_studies(self) -> None:
        with self._db.read() as session:
            due = studies.due_studies(session)
        for study_id in due:
            with self._write() as session:
                studies.continue_study(session, study_id, self._clock())

    def _submit(self) -> None:
        with self._db.read() as session:
            waiting = attempts.runs_to_submit(session)
        for run_id in waiting:
            self.worker.seconds = STEP_SECONDS
            if self._may_begin(run_id) and (environment := self._environment(run_id)):
                self._submit_run(run_id, environment)

    def _environment(self, run_id: int) -> EngineEnvironment | None:
        """Where its FL server is to run; None: it has to wait, or cannot be."""
        with self._db.read() as session:
            task, bundle = attempts.app_of_run(session, run_id)
        try:
            found = self._environment_of(task, bundle)
        except Invalid as error:
            with self._write() as session:
                app_error = FailureReason.APP_ERROR
                fail_run(session, run_id, app_error, error.message, self._clock())
            return None
        if found.why:
            with self._write() as session:
                attempts.note_waiting(session, run_id, found.why)
            return None
        return found

    def _submit_run(self, run_id: int, environment: EngineEnvironment) -> None:
        try:
            with self._write() as session:
                submission = attempts.open_attempt(session, run_id, self._clock())
        except Conflict:  # stopped in this very moment
            return
        reached("server.attempt.opened")
        try:
            self._start(submission, environment)
        except Invalid as error:
            with self._write() as session:
                attempts.mark_refused(session, submission.attempt_id, error.message, self._clock())
        except FedOpsError as error:
            with self._write() as session:
                attempts.mark_lost(session, submission.attempt_id, error.message, self._clock())
            self._pause_run(run_id)

    def _start(self, submission: EngineJob, environment: EngineEnvironment) -> None:
        folder = self._apps.unpack(self._artifacts.path(submission.bundle), submission.bundle)
        ticket = EngineTicket(
            attempt_id=submission.attempt_id,
            run_id=submission.run_id,
            attempt=submission.number,
            token=submission.token,
            server_url=self._settings.engine_url,
            app_dir=folder,
            python=environment.python,
            spool_dir=spool_dir(self._settings.engine_folder, submission.run_id, submission.number),
        )
        pid = self._engines.start(ticket)
        reached("server.attempt.started")
        with self._write() as session:
            attempts.mark_started(session, submission.attempt_id, pid)
        reached("server.attempt.handed_over")
        named = {"run_id": submission.run_id, "attempt": submission.number}
        said = "attempt %d of run %d is process %d"
        logger.info(said, submission.number, submission.run_id, pid, extra=named)

    # --- pauses between the attempts of a run --------------------------------------------------------

    def _pause_run(self, run_id: int) -> None:
        """The next attempt follows at once; those after it wait, if each is lost right away."""
        self._memory.runs.setdefault(run_id, Backoff()).failed(self._monotonic())

    def _may_begin(self, run_id: int) -> bool:
        now, runs = self._monotonic(), self._memory.runs
        for known in [r for r, backoff in runs.items() if now > backoff.until + FORGIVE_SECONDS]:
            del runs[known]
        return run_id not in runs or now >= runs[run_id].until


def _last_line(log: str) -> str:
    """Of a traceback the one that names the exception. The rest is in the run's logs."""
    return log.splitlines()[-1].strip()[:_LINE]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _error_of(part: Callable[[], None]) -> FedOpsError | None:
    """What a part of a step ran into: the other parts go on without it."""
    try:
        part()
    except FedOpsError as error:
        return error
    return None
