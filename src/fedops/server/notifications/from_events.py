"""What happened at a moment, as the event log has it: runs that failed, versions, rollouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import RunRead
from fedops.core.states import NotificationRule
from fedops.server.attention.of_delivery import show_rollout
from fedops.server.attention.thing import page_of
from fedops.server.database.tables import EventRow
from fedops.server.notifications.occurrences import Occurrence
from fedops.server.runs import views
from fedops.settings import ServerSettings

#: So many events are looked through at once.
STEP = 10_000
_Runs = Mapping[int, RunRead]


def from_events(
    session: Session, settings: ServerSettings, after: int, until: int, now: float
) -> list[Occurrence]:
    """What happened between two events, the first not included."""
    query = select(EventRow).where(
        EventRow.id > after, EventRow.id <= until, EventRow.name.in_(_SAID)
    )
    rows = session.scalars(query.order_by(EventRow.id)).all()
    failed = [row.run_id for row in rows if row.name == _FAILED and row.run_id is not None]
    read = views.read_runs(session, failed, settings, now) if failed else []
    runs = {run.id: run for run in read}
    return [_SAID[row.name](row, runs) for row in rows]


def _failed(row: EventRow, runs: _Runs) -> Occurrence:
    run = runs.get(row.run_id or 0)
    sentence = f"Run {row.run_id} failed: {row.text}"
    if run is not None:
        sentence = f"Run {run.id} of {run.task} {run.why}"
    return Occurrence(
        rule=NotificationRule.RUN_FAILED,
        key=f"event {row.id}",
        subject=row.subject,
        name=str(row.run_id),
        sentence=sentence,
        page=page_of("runs", row.run_id),
        command=f"fedops run show {row.run_id}",
        since=row.at,
        at=row.at,
        task=run.task if run else None,
        run_id=row.run_id,
        event_id=row.id,
    )


def _quarantined(row: EventRow, _: _Runs) -> Occurrence:
    task, version = row.subject.removeprefix("model ").split(" ")
    return Occurrence(
        rule=NotificationRule.VERSION_QUARANTINED,
        key=f"event {row.id}",
        subject=row.subject,
        name=f"{version} of {task}",
        sentence=f"{version} of {task} is quarantined: {row.text}",
        page=f"{page_of('tasks', task)}/models/{version}",
        command=f"fedops model show {task} {version}",
        since=row.at,
        at=row.at,
        task=task,
        run_id=row.run_id,
        event_id=row.id,
    )


def _stopped(row: EventRow, _: _Runs) -> Occurrence:
    task = row.subject.removeprefix("task ")
    commit, *why = row.text.split(": ", 1)
    because = f": {why[0]}" if why else ""
    shown = show_rollout(task)
    return Occurrence(
        rule=NotificationRule.ROLLOUT_STOPPED,
        key=f"event {row.id}",
        subject=row.subject,
        name=f"{commit} of {task}",
        sentence=f"The rollout of {commit} of {task} was stopped{because}",
        page=shown.page,
        command=shown.command,
        since=row.at,
        at=row.at,
        task=task,
        event_id=row.id,
    )


_FAILED = "run.failed"
#: By the names of events. A device's own events have no dot in theirs.
_SAID: Mapping[str, Callable[[EventRow, _Runs], Occurrence]] = {
    _FAILED: _failed,
    "model.quarantined": _quarantined,
    "rollout.stopped": _stopped,
}
