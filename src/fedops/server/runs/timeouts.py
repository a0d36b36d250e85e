"""Runs that waited too long where nobody else looks at the clock: they fail."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.reasons.durations import duration
from fedops.core.states import FailureReason, RunStatus
from fedops.server.database.tables import RunRow
from fedops.server.runs import time_limits
from fedops.server.runs.transitions import fail_run, live_attempt
from fedops.settings import ServerSettings

_DID = {
    RunStatus.PENDING: "waited for the engine",
    RunStatus.RESUMING: "waited for the engine",
    RunStatus.PAUSED: "was paused",
}


def is_any_waiting(session: Session) -> bool:
    """Whether any run waits where nobody else looks at the clock."""
    query = select(RunRow.id).where(RunRow.status.in_(_DID)).limit(1)
    return session.scalars(query).first() is not None


def fail_overdue(session: Session, settings: ServerSettings, now: float) -> list[int]:
    """For maintenance: fail the runs that waited too long for the engine, or to be resumed."""
    ended = []
    for run in session.scalars(select(RunRow).where(RunRow.status.in_(_DID))).all():
        limit, waited = time_limits.run_limit(run, None, settings), now - run.status_since
        if limit is None or waited <= limit or live_attempt(session, run):
            continue
        because = f" ({run.text})" if run.text else ""
        text = f"it {_DID[run.status]} for {duration(waited)}, limit {duration(limit)}{because}"
        fail_run(session, run.id, FailureReason.TIMEOUT, text, now)
        ended.append(run.id)
    return ended
