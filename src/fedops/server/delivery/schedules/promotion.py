"""What becomes of the version that a scheduled run has made, and of a schedule whose runs bring nothing."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from fedops.core.delivery.promotions import PAUSES_AFTER, Decision, decide
from fedops.core.states import FiringStatus, RunStatus
from fedops.server.database.tables import (
    FiringRow,
    ModelVersionRow,
    RoundRow,
    RunRow,
    ScheduleRow,
    SourceRow,
    TaskRow,
)
from fedops.server.delivery.schedules import firing_rows, looks
from fedops.server.delivery.schedules.device_data import SERVING
from fedops.server.events import event_log
from fedops.server.models import gate, versions

F = FiringStatus


def settle(session: Session, firing_id: int, now: float) -> None:
    """The run of a firing is over: decide once whether its version serves. Repeatable.

    A run that failed counts as one that was not promoted; one that a person stopped does not count.
    """
    firing = session.get_one(FiringRow, firing_id, with_for_update=True, populate_existing=True)
    if firing.status is not F.RUNNING or firing.run_id is None:
        return
    session.get_one(TaskRow, firing.task, with_for_update=True, populate_existing=True)
    run = session.get_one(RunRow, firing.run_id)
    row = session.get(ScheduleRow, (firing.task, firing.schedule))
    if run.status is RunStatus.STOPPED:
        firing_rows.end_firing(session, firing, F.STOPPED, f"run {run.id} was stopped", now)
    elif run.status is RunStatus.FAILED:
        why = f"run {run.id} failed: {run.text}"
        if firing_rows.end_firing(session, firing, F.FAILED, why, now) and row is not None:
            count_unpromoted(session, row, why, now)
    elif run.status is RunStatus.COMPLETED:
        _of_version(session, firing, run, row, now)


def _of_version(
    session: Session, firing: FiringRow, run: RunRow, row: ScheduleRow | None, now: float
) -> None:
    if row is None or run.version is None:
        why = "its ServerApp made no version" if row else "the schedule was removed meanwhile"
        firing_rows.end_firing(session, firing, F.KEPT, why, now, version=run.version)
        return
    made = session.get_one(ModelVersionRow, (run.task, run.version))
    decision, name = _decide(session, run, row, made), f"V{made.version}"
    new = F.PROMOTED if decision.promoted else F.KEPT
    said = "is serving" if decision.promoted else "is kept and not promoted"
    why = f"{name} {said}: {decision.why}"
    if not firing_rows.end_firing(session, firing, new, why, now, version=run.version):
        return
    if decision.promoted and versions.aliases(session, run.task).get(SERVING) != run.version:
        who = firing_rows.named(row.name)
        versions.move_alias(session, run.task, SERVING, run.version, now, who, "model.promoted")
    if decision.promoted or looks.promotion_of(row).rule == "never":
        row.unpromoted = 0
    else:
        count_unpromoted(session, row, f"run {run.id}: {why}", now)


def _decide(session: Session, run: RunRow, row: ScheduleRow, made: ModelVersionRow) -> Decision:
    if made.quarantined_at is not None:
        return Decision(False, f"it is quarantined: {made.quarantine}")
    number = versions.aliases(session, run.task).get(SERVING)
    serving = session.get(ModelVersionRow, (run.task, number)) if number is not None else None
    if serving is not None and serving.version == made.version:
        return Decision(True, "somebody has promoted it already")
    name = None if serving is None else f"V{serving.version}"
    before = {} if serving is None else _before(session, run, serving)
    rule = looks.promotion_of(row)
    return decide(rule, gate.rule_of(run), name, before, made.metrics)


def _before(session: Session, run: RunRow, serving: ModelVersionRow) -> Mapping[str, float]:
    """The metrics of what serves, measured as those of the new version are.

    What clients say of the new version is compared with what the clients of this run's first round said of
    the version that they were given: on the data of today. What the server measures has one data set.
    """
    if run.from_version != serving.version:
        return serving.metrics
    last = session.get(RoundRow, (run.id, run.committed_rounds))
    by_server = set(last.metrics) if last is not None else set()
    today = gate.seen_by_clients(session, run)
    return {
        **serving.metrics,
        **{name: value for name, value in today.items() if name not in by_server},
    }


# --- schedules that bring nothing ------------------------------------------------------------


def count_unpromoted(session: Session, row: ScheduleRow, why: str, now: float) -> None:
    """One more run that was not promoted. The second in a row pauses the schedule."""
    row.unpromoted += 1
    if row.unpromoted < PAUSES_AFTER or row.paused_at is not None:
        return
    words = f"{row.unpromoted} of its runs in a row were not promoted; the last: {why}"
    pause(session, row, f"{words}; {_what_to_do(session, row)}", now, firing_rows.named(row.name))


def _what_to_do(session: Session, row: ScheduleRow) -> str:
    on = f"'fedops schedule resume {row.task} {row.name}' lets it go on"
    if session.get(SourceRow, row.task) is None:
        return on
    return f"'fedops task roll-back {row.task}' goes back to the commit before, {on}"


def pause(session: Session, row: ScheduleRow, why: str, now: float, who: str) -> None:
    """It fires no more by itself. What it has begun goes on; what waited is taken back."""
    row.paused_at, row.paused_why = now, why
    subject = f"task {row.task}"
    text = f"schedule '{row.name}': {why}"
    event_log.append_event(session, now, who, subject, "schedule.paused", text, schedule=row.name)
    waiting = firing_rows.waiting_firing(session, row.task, row.name)
    if waiting is not None:
        firing_rows.end_firing(session, waiting, F.STOPPED, "the schedule was paused", now, who)
