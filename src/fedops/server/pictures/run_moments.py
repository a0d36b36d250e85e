"""What a run's engine is doing at this moment, since when, and until when it may."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import EngineProgress
from fedops.core.states import RunStatus
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import AttemptRow, RunRow
from fedops.server.runs import time_limits
from fedops.settings import ServerSettings

#: It needs somebody soon once less than this share of its limit is left.
_NEAR = 0.2


@dataclass(frozen=True)
class RunMoment:
    """The state of a run or, while it runs, the phase of its engine."""

    progress: EngineProgress | None
    #: POSIX seconds.
    since: float
    #: How long it may last, in seconds. None: as long as it likes.
    limit: float | None

    @property
    def ends_at(self) -> float | None:
        """When its limit is reached (POSIX seconds)."""
        return None if self.limit is None else self.since + self.limit

    def is_near(self, now: float) -> bool:
        """Whether little of its limit is left."""
        ends = self.ends_at
        return ends is not None and ends - now < _NEAR * (self.limit or 0.0)


def run_moment(session: Session, run_id: int, settings: ServerSettings) -> RunMoment:
    """What a run is doing. ``NotFound``: there is no such run."""
    run = require_run(session, run_id)
    attempt = _attempt(session, run) if run.status is RunStatus.RUNNING else None
    if attempt is None or attempt.progress is None:
        return RunMoment(None, run.status_since, time_limits.run_limit(run, None, settings))
    progress = EngineProgress.model_validate(attempt.progress)
    since = attempt.progress_at or attempt.started_at
    return RunMoment(progress, since, time_limits.run_limit(run, progress, settings))


def _attempt(session: Session, run: RunRow) -> AttemptRow | None:
    where = AttemptRow.run_id == run.id, AttemptRow.number == run.current_attempt
    return session.scalars(select(AttemptRow).where(*where)).first()
