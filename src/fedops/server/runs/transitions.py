"""Changes of state of runs and attempts, with all that follows from them: events and notices.

``core.states`` says which state may follow which; ``MOVED_BY`` which function takes a run there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.errors import Conflict
from fedops.core.states import (
    ATTEMPT_LIVE,
    ATTEMPT_TRANSITIONS,
    RUN_TERMINAL,
    RUN_TRAINING,
    RUN_TRANSITIONS,
    AssignmentStatus,
    AttemptStatus,
    FailureReason,
    InvalidTransition,
    RunStatus,
)
from fedops.server.assignments import assignments
from fedops.server.database.compare_and_set import transition
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import AttemptRow, RunRow
from fedops.server.devices.membership import tell_members
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import AttemptOver, AttemptSignal, WorkForScheduler, notify

#: To which state a run is taken by which function, as ``room.module.function``.
MOVED_BY: Mapping[RunStatus, tuple[str, ...]] = {
    RunStatus.STARTING: ("runs.attempts.open_attempt",),
    RunStatus.RUNNING: ("rounds.engine_session.start_attempt",),
    RunStatus.RESUMING: ("runs.attempts.resume_or_fail", "runs.control.request_resume"),
    RunStatus.PAUSING: ("runs.control.request_pause",),
    RunStatus.PAUSED: ("runs.control.request_pause", "runs.stopping.finish_stopping"),
    RunStatus.STOPPING: ("rounds.outcomes.complete_run", "runs.control.request_stop"),
    RunStatus.STOPPED: ("runs.control.request_stop", "runs.stopping.finish_stopping"),
    RunStatus.COMPLETED: ("rounds.outcomes.complete_run",),
    RunStatus.FAILED: (
        "rounds.outcomes.finish_attempt",
        "runs.attempts.mark_refused",
        "runs.attempts.resume_or_fail",
        "runs.transitions.fail_run",
    ),
}
#: In these states a run has (or may have) no use for an attempt.
_RESTING = RUN_TERMINAL | {RunStatus.PAUSED}


def attempt_of(session: Session, run: RunRow) -> AttemptRow | None:
    """The run's current attempt, live or not."""
    query = select(AttemptRow).where(
        AttemptRow.run_id == run.id, AttemptRow.number == run.current_attempt
    )
    return session.scalars(query).one_or_none()


def live_attempt(session: Session, run: RunRow) -> AttemptRow | None:
    """The run's attempt that is starting or running."""
    attempt = attempt_of(session, run)
    return attempt if attempt and attempt.status in ATTEMPT_LIVE else None


def transition_run(
    session: Session,
    run: RunRow,
    new: RunStatus,
    change: Change,
    **values: Any,
) -> bool:
    """Take a run to a state, if it is not there yet; log it and tell whom it concerns."""
    if new in RUN_TERMINAL:
        values.setdefault("ended_at", change.at)
    values.setdefault("text", change.why)
    if new in RUN_TRAINING and run.status not in RUN_TRAINING:
        values.setdefault("started_at", run.started_at or change.at)
    try:
        before = transition(
            session, run, "status", RUN_TRANSITIONS, new, status_since=change.at, **values
        )
    except InvalidTransition as error:
        raise Conflict(f"run {run.id}: {error.message}") from None
    if before is None:
        return False
    event_log.append_transition(session, change, f"run {run.id}", (before, new), run.id)
    _follow_up(session, run, before, new, change)
    return True


def _follow_up(
    session: Session,
    run: RunRow,
    before: RunStatus,
    new: RunStatus,
    change: Change,
) -> None:
    if (before in RUN_TRAINING) != (new in RUN_TRAINING) or new in RUN_TERMINAL:
        # Which runs go on, and whether one keeps devices from another commit.
        tell_members(session, run.task)
    _end_work(session, run, new, change.at)
    attempt = live_attempt(session, run)
    if attempt and new in (RunStatus.STOPPING, RunStatus.PAUSING):
        notify(session, AttemptSignal(attempt.id))
    if attempt and new in _RESTING:
        transition_attempt(session, attempt, AttemptStatus.CANCELLED, change)
    notify(session, WorkForScheduler())


def _end_work(session: Session, run: RunRow, new: RunStatus, now: float) -> None:
    """What the run's devices have in hand when it is to rest or ends."""
    if new in RUN_TRAINING or new is RunStatus.PENDING:
        return
    pauses = new in (RunStatus.PAUSING, RunStatus.PAUSED)
    state = AssignmentStatus.EXPIRED if new is RunStatus.COMPLETED else AssignmentStatus.CANCELLED
    reason = "the run is paused" if pauses else f"the run is {new.value}"
    where = assignments.assignments_of_run(run.id)
    assignments.cancel_assignments(session, where, reason, now, new=state, checkpoint=pauses)


def transition_attempt(
    session: Session,
    attempt: AttemptRow,
    new: AttemptStatus,
    change: Change,
    **values: Any,
) -> bool:
    """Take an attempt to a state, if it is not there yet; log it and free what it held."""
    if new not in ATTEMPT_LIVE:
        values.update(ended_at=change.at, reason=change.why or None)
    before = transition(session, attempt, "status", ATTEMPT_TRANSITIONS, new, **values)
    if before is None:
        return False
    subject = f"attempt {attempt.number} of run {attempt.run_id}"
    event_log.append_transition(session, change, subject, (before, new), attempt.run_id)
    if new not in ATTEMPT_LIVE:
        notify(session, AttemptOver(attempt.id, attempt.run_id), WorkForScheduler())
    return True


def fail_run(session: Session, run_id: int, reason: FailureReason, text: str, now: float) -> None:
    """For the scheduler and maintenance: a run that cannot go on fails. Repeatable."""
    run = require_run(session, run_id)
    if run.ended_at is None:
        transition_run(session, run, RunStatus.FAILED, Change("server", text, now), reason=reason)
