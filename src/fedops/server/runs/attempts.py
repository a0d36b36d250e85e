"""Attempts as the scheduler sees them: what to submit, what lives, what was lost, what to end."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import EngineProgress
from fedops.core.errors import Conflict, NotFound
from fedops.core.reasons.attempts import phase_text
from fedops.core.states import (
    ATTEMPT_LIVE,
    RUN_TERMINAL,
    RUN_TRAINING,
    AttemptStatus,
    FailureReason,
    RunStatus,
    TokenKind,
)
from fedops.server.access import tokens
from fedops.server.database.compare_and_set import compare_and_set
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import AttemptRow, RunRow
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.runs import time_limits
from fedops.server.runs.transitions import live_attempt, transition_attempt, transition_run
from fedops.settings import ServerSettings


@dataclass(frozen=True)
class EngineJob:
    """An attempt that the engine must start now."""

    attempt_id: int
    run_id: int
    number: int
    task: str
    #: sha256 of the app bundle; its file is ``BlobStore.path(bundle)``.
    bundle: str
    #: The attempt token, known only here.
    token: str


@dataclass(frozen=True)
class LiveAttempt:
    """An attempt that was neither ended nor lost."""

    attempt_id: int
    run_id: int
    number: int
    status: AttemptStatus
    run_status: RunStatus
    pid: int | None
    started_at: float
    #: What it does, since when, and how long it may, in seconds.
    phase: str
    phase_since: float
    phase_seconds: float


@dataclass(frozen=True)
class FinishedEngineJob:
    """An attempt that is over, of which something may be left: a process, a folder."""

    attempt_id: int
    run_id: int
    number: int
    status: AttemptStatus
    ended_at: float


def runs_to_submit(session: Session) -> list[int]:
    """Runs that wait for an attempt: pending or resuming, with none alive. Oldest first."""
    alive = select(AttemptRow.run_id).where(AttemptRow.status.in_(ATTEMPT_LIVE))
    query = (
        select(RunRow.id)
        .where(RunRow.status.in_((RunStatus.PENDING, RunStatus.RESUMING)))
        .where(RunRow.id.not_in(alive))
        .order_by(RunRow.id)
    )
    return list(session.scalars(query))


def app_of_run(session: Session, run_id: int) -> tuple[str, str]:
    """A run's task and app bundle (its sha256)."""
    run = require_run(session, run_id)
    return run.task, run.bundle


def note_waiting(session: Session, run_id: int, why: str) -> None:
    """What the next attempt of a run waits for."""
    run = require_run(session, run_id)
    if run.status in (RunStatus.PENDING, RunStatus.RESUMING) and run.text != why:
        run.text = why


def engine_of(attempt: AttemptRow) -> str:
    """The engine of an attempt, as events name it."""
    return f"engine (attempt {attempt.number})"


def open_attempt(session: Session, run_id: int, now: float) -> EngineJob:
    """The next attempt of a run (pending -> starting, resuming stays). ``Conflict`` if too late."""
    run = require_run(session, run_id)
    if run.status not in (RunStatus.PENDING, RunStatus.RESUMING) or live_attempt(session, run):
        raise Conflict(f"run {run.id} is {run.status.value}: it takes no new attempt now")
    number = run.current_attempt + 1
    if not compare_and_set(session, run, "current_attempt", number):
        raise Conflict(f"run {run.id} got attempt {number} from somebody else")
    attempt = AttemptRow(
        run_id=run.id, number=number, status=AttemptStatus.STARTING, started_at=now
    )
    session.add(attempt)
    session.flush()
    _, secret = tokens.issue_token(session, TokenKind.ATTEMPT, now, attempt_id=attempt.id)
    subject = f"attempt {number} of run {run.id}"
    event_log.append_event(
        session, now, event_log.SCHEDULER, subject, "attempt.starting", run_id=run.id
    )
    if run.status is RunStatus.PENDING:
        why = f"attempt {number} is given to the engine"
        transition_run(session, run, RunStatus.STARTING, Change(event_log.SCHEDULER, why, now))
    return EngineJob(attempt.id, run.id, number, run.task, run.bundle, secret)


def mark_started(session: Session, attempt_id: int, pid: int) -> None:
    """The attempt has a process now."""
    _require(session, attempt_id).pid = pid


def live_attempts(session: Session, settings: ServerSettings) -> list[LiveAttempt]:
    """All attempts that are starting or running, oldest first."""
    query = (
        select(AttemptRow, RunRow)
        .join(RunRow, RunRow.id == AttemptRow.run_id)
        .where(AttemptRow.status.in_(ATTEMPT_LIVE))
        .order_by(AttemptRow.id)
    )
    return [_live(attempt, run, settings) for attempt, run in session.execute(query)]


def _live(attempt: AttemptRow, run: RunRow, settings: ServerSettings) -> LiveAttempt:
    progress = EngineProgress.model_validate(attempt.progress) if attempt.progress else None
    return LiveAttempt(
        attempt_id=attempt.id,
        run_id=attempt.run_id,
        number=attempt.number,
        status=attempt.status,
        run_status=run.status,
        pid=attempt.pid,
        started_at=attempt.started_at,
        phase=phase_text(progress),
        phase_since=attempt.progress_at or attempt.started_at,
        phase_seconds=time_limits.phase_limit(run, progress, settings),
    )


def mark_lost(
    session: Session, attempt_id: int, why: str, now: float, *, counts: bool = True
) -> None:
    """The attempt's process or the engine died: the run resumes, or fails after too many. Repeatable.

    ``counts`` False: neither the run nor its app can have been the cause.
    """
    attempt = _require(session, attempt_id)
    if attempt.status not in ATTEMPT_LIVE:
        return
    transition_attempt(session, attempt, AttemptStatus.LOST, Change(event_log.SCHEDULER, why, now))
    run = require_run(session, attempt.run_id)
    if run.current_attempt == attempt.number:
        resume_or_fail(
            session, run, f"attempt {attempt.number} was lost: {why}", now, counts=counts
        )


def cancel_attempt(session: Session, attempt_id: int, why: str, now: float) -> None:
    """Nothing executes the attempt any more, and nothing shall. Repeatable."""
    attempt = _require(session, attempt_id)
    if attempt.status in ATTEMPT_LIVE:
        transition_attempt(
            session, attempt, AttemptStatus.CANCELLED, Change(event_log.SCHEDULER, why, now)
        )


def mark_refused(session: Session, attempt_id: int, why: str, now: float) -> None:
    """The engine will never take this app: the run fails."""
    cancel_attempt(session, attempt_id, why, now)
    run = require_run(session, _require(session, attempt_id).run_id)
    if run.status not in RUN_TERMINAL:
        reason = FailureReason.APP_ERROR
        transition_run(
            session, run, RunStatus.FAILED, Change(event_log.SCHEDULER, why, now), reason=reason
        )


def resume_or_fail(
    session: Session, run: RunRow, why: str, now: float, *, counts: bool = True
) -> None:
    """What becomes of a run whose attempt is over without a result."""
    who = event_log.SCHEDULER
    if run.status not in RUN_TRAINING:
        return  # stopping or pausing: it settles by itself, once its devices are quiet
    run.lost_in_a_row += int(counts)
    session.flush()
    if run.lost_in_a_row > _max_retries(run):
        text = f"{run.lost_in_a_row} attempts in a row made no round; {why}"
        reason = FailureReason.ENGINE_ERROR
        transition_run(session, run, RunStatus.FAILED, Change(who, text, now), reason=reason)
    elif not transition_run(session, run, RunStatus.RESUMING, Change(who, why, now)):
        run.text = why


def _max_retries(run: RunRow) -> int:
    return time_limits.round_policy(run).max_retries


def attempts_to_clear(session: Session) -> list[FinishedEngineJob]:
    """Attempts that are over and were not cleared yet. Oldest first."""
    query = (
        select(AttemptRow)
        .where(AttemptRow.status.not_in(ATTEMPT_LIVE), AttemptRow.cleared_at.is_(None))
        .order_by(AttemptRow.id)
    )
    return [
        FinishedEngineJob(row.id, row.run_id, row.number, row.status, row.ended_at or 0.0)
        for row in session.scalars(query)
    ]


def mark_cleared(session: Session, attempt_id: int, now: float) -> None:
    """Nothing is left of this attempt but its row."""
    attempt = _require(session, attempt_id)
    attempt.cleared_at = attempt.cleared_at or now


def _require(session: Session, attempt_id: int) -> AttemptRow:
    attempt = session.get(AttemptRow, attempt_id)
    if attempt is None:
        raise NotFound(f"there is no attempt with id {attempt_id}")
    return attempt
