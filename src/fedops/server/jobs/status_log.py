"""Writes to the log why each run is as it is, whenever the reason changes."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.reasons.runs import run_why
from fedops.core.states import RunStatus
from fedops.server.database.tables import RunRow
from fedops.server.models import versions
from fedops.server.runs import run_facts
from fedops.server.runs.transitions import attempt_of
from fedops.settings import ServerSettings

logger = logging.getLogger("fedops.server.runs")
_NUMBERS = re.compile(r"\d+(\.\d+)? ?(s|min|h|d)?\b")


class StatusLog:
    """Remembers what was last said of each run that is not over."""

    def __init__(self) -> None:
        self._said: dict[int, str] = {}

    def look(self, session: Session, settings: ServerSettings, now: float) -> None:
        """Log what is new."""
        runs = session.scalars(select(RunRow).where(RunRow.ended_at.is_(None))).all()
        ended = self._said.keys() - {run.id for run in runs}
        for run_id in ended:
            self._say_end(session, run_id, settings, now)
        for run in runs:
            self._say(session, run, settings, now)

    def _say(self, session: Session, run: RunRow, settings: ServerSettings, now: float) -> None:
        seen = run_facts.run_facts(session, run, attempt_of(session, run), settings, now)
        why = run_why(seen)
        phase = seen.progress.phase if seen.progress else ""
        # Rounds follow each other by the second: that a run is at work is said once.
        works = run.status is RunStatus.RUNNING and phase not in ("", "waiting")
        gist = "at work" if works else f"{run.status.value}: {_NUMBERS.sub('#', why)}"
        if self._said.get(run.id) != gist:
            self._said[run.id] = gist
            _say_of(run, why)

    def _say_end(self, session: Session, run_id: int, settings: ServerSettings, now: float) -> None:
        del self._said[run_id]
        run = session.get(RunRow, run_id)
        if run is not None:
            fate, _ = versions.fates(session, [run_id]).get(run_id, (None, ""))
            seen = run_facts.run_facts(session, run, None, settings, now)
            why = run_why(replace(seen, quarantine=fate))
            _say_of(run, why)


def _say_of(run: RunRow, why: str) -> None:
    named = {"run_id": run.id, "task": run.task}
    said = "run %d of task %s is %s: %s"
    logger.info(said, run.id, run.task, run.status.value, why, extra=named)
