"""The scheduler: makes what the engine does equal to what the database says, step by step.

It alone talks to the engine. A step can be repeated and interrupted anywhere: whatever it finds half
done, it takes for lost and does anew.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedops.core.engine import RunEngine
from fedops.core.errors import Conflict, FedOpsError, Invalid, Unavailable
from fedops.core.states import AttemptStatus, RunStatus
from fedops.core.why import span
from fedops.failpoints import reached
from fedops.server import attempts, devices, logs
from fedops.server.artifacts import ArtifactStore
from fedops.server.attempt_files import AttemptFiles
from fedops.server.attempts import EngineRun, LiveAttempt, Submission
from fedops.server.db import Database
from fedops.server.doorbell import Doorbell
from fedops.server.rounds.engine_liveness import Pulse
from fedops.server.rounds.engine_session import spool_dir
from fedops.server.worker import Worker
from fedops.settings import ServerSettings

logger = logging.getLogger("fedops.server.scheduler")

#: From step to step while attempts live, and while none does. What is asked for wakes it anyway.
STEP_SECONDS = 0.25
IDLE_SECONDS = 1.0
#: How often the engine is asked whether it is well, and about runs whose process is not known yet.
HEALTH_SECONDS = 1.0
#: From "stop" to ending the Flower run, and to killing its process.
STOP_SECONDS = 1.0
KILL_SECONDS = 2.0
#: How long the process of an attempt that said goodbye may take to end.
GOODBYE_SECONDS = 5.0
#: A step that comes so late shows that this process itself stood still.
ABSENCE_SECONDS = 5.0
#: How many nodes are registered in one step, so that a thousand do not hold up everything else.
REGISTRATIONS = 50
LOG_CHARACTERS = 1_500
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
        delay = min(self.first * 2.0 ** (self.failures - 1), self.cap) if self.failures else 0.0
        self.failures, self.until = self.failures + 1, now + delay


@dataclass
class _Memory:
    """What the scheduler remembers between steps; losing it does no harm."""

    generation: int = -1
    healthy: bool = False
    step_at: float = float("-inf")
    health_at: float = float("-inf")
    engine: Backoff = field(default_factory=Backoff)
    #: Attempts that end: since when.
    ending: dict[int, float] = field(default_factory=dict)
    #: When the engine was last asked about an attempt without a process.
    asked: dict[int, float] = field(default_factory=dict)
    #: Runs that lost an attempt not long ago.
    runs: dict[int, Backoff] = field(default_factory=dict)
    refused_keys: set[str] = field(default_factory=set)


class Scheduler:
    """Runs, attempts and nodes, kept in step with the engine."""

    def __init__(
        self,
        db: Database,
        engine: RunEngine,
        artifacts: ArtifactStore,
        files: AttemptFiles,
        doorbell: Doorbell,
        settings: ServerSettings,
        pulse: Pulse,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._engine = engine
        self._artifacts = artifacts
        self._files = files
        self._doorbell = doorbell
        self._spool = settings.home
        self._settings = settings
        self._pulse = pulse
        self._clock = clock
        self._monotonic = monotonic
        self._memory = _Memory()
        self._begun = False
        self.worker = Worker("scheduler", self.step, STEP_SECONDS)

    def step(self) -> None:
        """One pass. Called by the worker, or by a test."""
        if not self._begun:
            self._begin()
        self._notice_own_absence()
        if not self._engine_is_up():
            return
        self._follow_generation()
        parts = (self._register_nodes, self._watch, self._clear, self._submit)
        errors = [error for part in parts if (error := _error_of(part))]
        if errors:
            raise errors[0]

    def _notice_own_absence(self) -> None:
        """When we were held up, we may not have heard those who did call."""
        now, memory = self._monotonic(), self._memory
        if now - memory.step_at > ABSENCE_SECONDS:
            self._pulse.forgive()
        memory.step_at = now

    def _begin(self) -> None:
        """What an earlier life of the server began, nobody executes any more."""
        self._files.prepare()
        self._lose_all("the Server Manager was restarted")
        reached("server.resume.lost")
        with self._db.write() as session:
            devices.forget_node_ids(session)
            for left in attempts.to_clear(session):
                self._remove_files(left)
                attempts.cleared(session, left.attempt_id, self._clock())
        self._begun = True

    def _lose_all(self, why: str, counts: bool = False) -> None:
        with self._db.write() as session:
            for attempt in attempts.live(session, self._settings):
                attempts.lost(session, attempt.attempt_id, why, self._clock(), counts=counts)

    # --- the engine --------------------------------------------------------------------------------

    def _engine_is_up(self) -> bool:
        now, memory = self._monotonic(), self._memory
        if now < memory.engine.until:
            return False
        if memory.healthy and now - memory.health_at < HEALTH_SECONDS:
            return True
        try:
            self._engine.ensure_healthy()
        except FedOpsError as error:
            self._engine_is_down(error, now)
            raise
        memory.healthy, memory.health_at, memory.engine = True, self._monotonic(), Backoff()
        return True

    def _engine_is_down(self, error: FedOpsError, now: float) -> None:
        memory = self._memory
        memory.engine.failed(now)
        if memory.healthy:
            self._lose_all(error.message, counts=True)
        memory.healthy = False

    def _follow_generation(self) -> None:
        """After a restart the engine knows no run and no node of before."""
        if self._engine.generation == self._memory.generation:
            return
        with self._db.write() as session:
            old_ids = [k.node_id for k in devices.approved_keys(session) if k.node_id]
            devices.forget_node_ids(session)
        self._doorbell.ring(old_ids)  # who waits under an old id must not wait on
        self._memory.generation = self._engine.generation
        self._memory.refused_keys.clear()

    # --- nodes -------------------------------------------------------------------------------------

    def _register_nodes(self) -> None:
        """Make the keys of approved devices known, and tell the devices their node ids."""
        with self._db.read() as session:
            keys = devices.approved_keys(session, unregistered=True)
        new = [key for key in keys if key.device_id not in self._memory.refused_keys]
        if not new:
            return
        found = [(k.device_id, self._node_id(k)) for k in new[:REGISTRATIONS]]
        with self._db.write() as session:
            for device_id, node_id in found:
                if node_id is not None:
                    devices.set_node_id(session, device_id, node_id)
        if len(new) > REGISTRATIONS:
            self.worker.wake()

    def _node_id(self, key: devices.DeviceKey) -> str | None:
        try:
            return self._engine.register_node(key.public_key)
        except Invalid as error:
            logger.error("device %s cannot take part: %s", key.name, error.message)
            self._memory.refused_keys.add(key.device_id)
            return None

    # --- attempts that live ------------------------------------------------------------------------

    def _watch(self) -> None:
        with self._db.read() as session:
            live = attempts.live(session, self._settings)
        self.worker.seconds = STEP_SECONDS if live else IDLE_SECONDS
        for attempt in live:
            if attempt.run_status in (RunStatus.STOPPING, RunStatus.PAUSING):
                self._end(attempt)
            elif (why := self._what_ended(attempt)) is not None:
                self._lose(attempt, why)
        known = {attempt.attempt_id for attempt in live}
        self._pulse.keep(known)
        for remembered in (self._memory.ending, self._memory.asked):
            for attempt_id in remembered.keys() - known:
                del remembered[attempt_id]

    def _what_ended(self, attempt: LiveAttempt) -> str | None:
        """None when the attempt goes on, else what happened to it."""
        if attempt.engine_run_id is None:
            return "it was not handed over to the engine"
        if not self._is_here(attempt):
            return "the engine died under it and was restarted"
        if attempt.pid is not None:
            if not self._engine.process_alive(attempt.pid):
                return f"its ServerApp (process {attempt.pid}) died"
            return self._why_hung(attempt)
        return self._why_not_started(attempt, attempt.engine_run_id)

    def _why_not_started(self, attempt: LiveAttempt, engine_run_id: str) -> str | None:
        now, asked = self._monotonic(), self._memory.asked
        if now - asked.get(attempt.attempt_id, float("-inf")) < HEALTH_SECONDS:
            return None
        asked[attempt.attempt_id] = now
        if (how := self._engine.run_ended(engine_run_id)) is not None:
            return f"its ServerApp ended before it began ({how})"
        limit = self._settings.attempt_start_seconds
        if self._clock() - attempt.started_at > limit:
            return f"its ServerApp did not begin within {limit:.0f} s"
        return None

    def _why_hung(self, attempt: LiveAttempt) -> str | None:
        limit = self._settings.attempt_silence_seconds
        if (silence := self._pulse.silence(attempt.attempt_id)) > limit:
            who = f"its ServerApp (process {attempt.pid})"
            return f"{who} fell silent: last heard {span(silence)} ago, limit {span(limit)}"
        lasting = self._clock() - attempt.phase_since
        if lasting > attempt.phase_seconds:
            what = f"its ServerApp (process {attempt.pid}) does not get on: {attempt.phase}"
            return f"{what} for {span(lasting)}, limit {span(attempt.phase_seconds)}"
        return None

    def _lose(self, attempt: LiveAttempt, why: str) -> None:
        """End what is left of it, then let the run go on with the next one."""
        log = ""
        if attempt.engine_run_id and self._is_here(attempt):
            self._stop_in_engine(attempt.engine_run_id, attempt.pid)
            log = self._engine.run_log(attempt.engine_run_id)[-LOG_CHARACTERS:].strip()
        text = f"{why}; its last words: {log}" if log else why
        logger.warning("attempt %d of run %d is lost: %s", attempt.number, attempt.run_id, text)
        with self._db.write() as session:
            attempts.lost(session, attempt.attempt_id, text, self._clock())
            reached("server.attempt.lose.inside")
            if log:
                at, limit = self._clock(), self._settings.log_bytes
                logs.last_words(session, attempt.attempt_id, log, limit, at)
        self._pause_run(attempt.run_id)

    def _end(self, attempt: LiveAttempt) -> None:
        """Its run is stopped or paused, and it was told so; when it does not end by itself, end it."""
        now = self._monotonic()
        waited = now - self._memory.ending.setdefault(attempt.attempt_id, now)
        if waited >= STOP_SECONDS and self._is_here(attempt) and attempt.engine_run_id:
            pid = attempt.pid if waited >= KILL_SECONDS else None
            self._stop_in_engine(attempt.engine_run_id, pid)
        if self._is_quiet(attempt):
            why = f"the run is {attempt.run_status.value}"
            with self._db.write() as session:
                attempts.cancelled(session, attempt.attempt_id, why, self._clock())

    def _is_quiet(self, attempt: LiveAttempt) -> bool:
        if not attempt.engine_run_id or not self._is_here(attempt):
            return True
        if attempt.pid is not None:
            return not self._engine.process_alive(attempt.pid)
        return self._engine.run_ended(attempt.engine_run_id) is not None

    def _is_here(self, attempt: LiveAttempt | EngineRun) -> bool:
        """Whether it belongs to this life of the engine."""
        return attempt.generation == self._engine.generation

    def _stop_in_engine(self, engine_run_id: str, pid: int | None) -> None:
        if pid is not None:
            self._engine.kill_process(pid)
        with contextlib.suppress(Unavailable):
            self._engine.stop_run(engine_run_id)

    # --- attempts that are over --------------------------------------------------------------------

    def _clear(self) -> None:
        """Make the engine forget attempts that are over, once their process is gone."""
        with self._db.read() as session:
            over = attempts.to_clear(session)
        for left in over:
            if self._is_gone(left):
                self._remove_files(left)
                with self._db.write() as session:
                    attempts.cleared(session, left.attempt_id, self._clock())
                self._doorbell.forget(left.attempt_id)

    def _remove_files(self, left: EngineRun) -> None:
        self._files.remove(left.engine_run_id)
        folder = spool_dir(self._spool, left.run_id, left.number)
        shutil.rmtree(folder, ignore_errors=True)

    def _is_gone(self, left: EngineRun) -> bool:
        if not self._is_here(left):
            return True
        said_goodbye = left.status is AttemptStatus.ENDED
        alive = left.pid is not None and self._engine.process_alive(left.pid)
        if said_goodbye and alive and self._clock() - left.ended_at < GOODBYE_SECONDS:
            return False
        self._stop_in_engine(left.engine_run_id, left.pid)
        return self._engine.run_ended(left.engine_run_id) is not None

    # --- attempts to come --------------------------------------------------------------------------

    def _submit(self) -> None:
        with self._db.read() as session:
            waiting = attempts.to_submit(session)
        for run_id in waiting:
            if self._may_begin(run_id):
                with contextlib.suppress(Conflict):  # stopped in this very moment
                    self._submit_run(run_id)

    def _submit_run(self, run_id: int) -> None:
        with self._db.write() as session:
            submission = attempts.open_attempt(session, run_id, self._clock())
        reached("server.attempt.opened")
        try:
            self._hand_over(submission)
        except Invalid as error:
            with self._db.write() as session:
                attempts.refused(session, submission.attempt_id, error.message, self._clock())
        except FedOpsError as error:
            with self._db.write() as session:
                attempts.lost(session, submission.attempt_id, error.message, self._clock())
            self._pause_run(run_id)

    def _hand_over(self, submission: Submission) -> None:
        bundle = self._artifacts.path(submission.bundle).read_bytes()
        generation = self._engine.generation
        engine_run_id = self._engine.start_run(bundle)
        reached("server.attempt.started")
        with self._db.write() as session:
            attempts.submitted(session, submission.attempt_id, engine_run_id, generation)
        reached("server.attempt.submitted")
        # Only now can the ServerApp call, so that it never does before we know it.
        self._files.write(engine_run_id, submission)
        reached("server.attempt.handed_over")
        self.worker.seconds = STEP_SECONDS
        logger.info("attempt %d of run %d is submitted", submission.number, submission.run_id)

    # --- pauses between the attempts of a run --------------------------------------------------------

    def _pause_run(self, run_id: int) -> None:
        """The next attempt follows at once; those after it wait, if each is lost right away."""
        self._memory.runs.setdefault(run_id, Backoff()).failed(self._monotonic())

    def _may_begin(self, run_id: int) -> bool:
        now, runs = self._monotonic(), self._memory.runs
        for known in [r for r, backoff in runs.items() if now > backoff.until + FORGIVE_SECONDS]:
            del runs[known]
        return run_id not in runs or now >= runs[run_id].until


def _error_of(part: Callable[[], None]) -> FedOpsError | None:
    """What a part of a step ran into: the other parts go on without it."""
    try:
        part()
    except FedOpsError as error:
        return error
    return None
