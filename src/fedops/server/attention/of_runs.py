"""Runs that failed and that nobody went on with, and runs that wait and will not do so for ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import RunRead
from fedops.core.states import AttemptStatus, RunStatus
from fedops.server.attention.thing import DAY, Action, Attention, Severity, Within, page_of
from fedops.server.database.tables import AttemptRow, RunRow, TaskRow
from fedops.server.pictures.run_moments import RunMoment
from fedops.server.runs import views
from fedops.settings import ServerSettings

#: A failure that is older has been seen.
_RECENT_SECONDS = 7 * DAY
#: A wait that is shorter is usual. Seconds.
_USUAL_WAIT = 120.0
_MOST = 50


def failed_runs(
    session: Session, settings: ServerSettings, now: float, within: Within
) -> Iterator[Attention]:
    """Of each task the newest run, if it failed not long ago: whatever came after it went on with it."""
    newest = select(
        select(func.max(RunRow.id)).where(RunRow.task == TaskRow.name).scalar_subquery()
    )
    query = select(RunRow.id).where(
        RunRow.id.in_(newest),
        RunRow.status == RunStatus.FAILED,
        RunRow.ended_at > now - _RECENT_SECONDS,
    )
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    ids = session.scalars(query.order_by(RunRow.id.desc()).limit(_MOST)).all()
    for run in views.read_runs(session, ids, settings, now, within):
        yield Attention(
            key=f"run {run.id}",
            severity=Severity.NOW,
            sentence=f"Run {run.id} of {run.task} {run.why}",
            since=run.ended_at or run.created_at,
            actions=(_show(run), _retry(run)),
        )


def active_runs(
    session: Session, settings: ServerSettings, now: float, within: Within
) -> list[RunRead]:
    """The runs that are not over, newest first: at most one a task."""
    query = select(RunRow.id).where(RunRow.ended_at.is_(None))
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    ids = session.scalars(query.order_by(RunRow.id.desc()).limit(_MOST)).all()
    return views.read_runs(session, ids, settings, now, within)


def waiting_runs(session: Session, active: Sequence[RunRead], now: float) -> Iterator[Attention]:
    """Those of the runs that go on that wait for somebody, or for devices for longer than is usual."""
    since_when = waiting_since(session, active, now)
    for run in active:
        if run.status is RunStatus.PAUSED:
            yield _waiting(run, now - run.seconds_in_state, now, (_show(run), _resume(run)))
        elif run.id in since_when:
            since = since_when[run.id]
            thing = _waiting(run, since, now, (_show(run), _stop(run)))
            if now - since > _USUAL_WAIT or thing.severity is Severity.NOW:
                yield thing


def waiting_since(session: Session, active: Sequence[RunRead], now: float) -> dict[int, float]:
    """Of the runs that do not get on by themselves, by id: since when (POSIX seconds)."""
    waits = _engines_waiting(session, [run.id for run in active])
    return {
        run.id: waits.get(run.id, now - run.seconds_in_state)
        for run in active
        if run.status in _MOVING or (run.status is RunStatus.RUNNING and run.id in waits)
    }


#: States that a run should leave by itself.
_MOVING = (RunStatus.PENDING, RunStatus.RESUMING, RunStatus.PAUSING, RunStatus.STOPPING)


def _waiting(run: RunRead, since: float, now: float, actions: tuple[Action, ...]) -> Attention:
    moment = RunMoment(None, since, run.limit_seconds)
    return Attention(
        key=f"run {run.id}",
        severity=Severity.NOW if moment.is_near(now) else Severity.SOON,
        sentence=f"Run {run.id} of {run.task}: {run.why}",
        since=since,
        deadline=moment.ends_at,
        actions=actions,
    )


def _engines_waiting(session: Session, run_ids: Sequence[int]) -> dict[int, float]:
    """Of the runs whose engine waits for devices, since when."""
    query = select(AttemptRow.run_id, AttemptRow.progress, AttemptRow.progress_at).where(
        AttemptRow.run_id.in_(run_ids), AttemptRow.status == AttemptStatus.RUNNING
    )
    return {
        run_id: at
        for run_id, progress, at in session.execute(query)
        if at is not None and (progress or {}).get("phase") == "waiting"
    }


def _show(run: RunRead) -> Action:
    return Action(f"Show run {run.id}", page_of("runs", run.id), f"fedops run show {run.id}")


def _act(run: RunRead, verb: str) -> Action:
    page, command = f"{page_of('runs', run.id)}/{verb}", f"fedops run {verb} {run.id}"
    return Action(
        f"{verb.capitalize()} run {run.id}", page, command, f"POST /runs/{{run_id}}/{verb}"
    )


def _retry(run: RunRead) -> Action:
    return _act(run, "retry")


def _stop(run: RunRead) -> Action:
    return _act(run, "stop")


def _resume(run: RunRead) -> Action:
    return _act(run, "resume")
