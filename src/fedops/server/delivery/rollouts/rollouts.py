"""Rollouts as they begin and end: use cases of operators and of the server itself."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import RolloutDecision, RolloutPolicy, RolloutStart
from fedops.core.errors import Conflict
from fedops.core.reasons.commits import short_commit
from fedops.core.states import ROLLOUT_MOVING, CommitStatus, RolloutStatus, TaskStatus
from fedops.server.database.tables import CommitRow, DeploymentRow, RolloutRow, SourceRow
from fedops.server.delivery.packages.commit_packages import forget_refused
from fedops.server.delivery.rollouts import deployments, rollout_rows, windows
from fedops.server.delivery.rollouts.adoption import adopt
from fedops.server.delivery.rollouts.deployments import back_to
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import WorkForRollouts, notify
from fedops.server.tasks import tasks
from fedops.server.tasks.draft_tasks import draft_words
from fedops.server.tasks.tasks import ConfigOf

R = RolloutStatus


# --- beginning -------------------------------------------------------------------------------


def start_rollout(session: Session, task: str, body: RolloutStart, now: float) -> RolloutRow:
    """Roll out a commit because a person asks for it. Repeating is harmless.

    Raises:
        NotFound: there is no such task or commit.
        Conflict: the commit is not sound, or was stopped before and is not to be tried ``again``.
    """
    row = tasks.require_task(session, task)
    if row.status is not TaskStatus.READY:
        draft = draft_words(task) if row.status is TaskStatus.DRAFT else ""
        raise Conflict(draft or f"task '{task}' is {row.status.value}: nothing is rolled out")
    commit = rollout_rows.require_sound(session, task, body.commit or _by_default(session, task))
    change = Change(event_log.OPERATOR, "asked for by a person", now)
    if body.pin:
        _pin(session, task, commit.commit, change)
    current = rollout_rows.current_rollout(session, task)
    if current is not None and current.commit == commit.commit and not body.again:
        return current
    before = rollout_rows.newest_rollout(session, task, commit.commit)
    if before is not None and before.status is R.STOPPED and not body.again:
        raise Conflict(
            f"commit {short_commit(commit.commit)} was rolled out and stopped: {before.why}; "
            f"'fedops task rollout {task} --commit {short_commit(commit.commit)} --again' tries it again"
        )
    return begin(session, commit, change, again=body.again)


def _by_default(session: Session, task: str) -> str:
    """What the source names, or else the newest that is sound."""
    source = session.get(SourceRow, task)
    named = rollout_rows.commit_of_source(session, source) if source is not None else None
    return named.commit if named is not None else _newest_sound(session, task)


def _newest_sound(session: Session, task: str) -> str:
    query = select(CommitRow.commit).where(
        CommitRow.task == task, CommitRow.status == CommitStatus.SOUND
    )
    found = session.scalars(query.order_by(CommitRow.id.desc()).limit(1)).first()
    if found is None:
        raise Conflict(
            f"task '{task}' has no commit that was found sound; 'fedops task commits {task}' says why"
        )
    return found


def begin(
    session: Session, commit: CommitRow, change: Change, *, again: bool = False
) -> RolloutRow:
    """A new rollout. The one before, if it goes on, is superseded."""
    task, now = commit.task, change.at
    policy = policy_of_task(session, task)
    before = rollout_rows.newest_rollout(session, task, commit.commit)
    counts = again or (before is not None and before.status is R.STOPPED)
    attempt = 1 if before is None else before.attempt + counts
    if counts:
        forget_refused(session, task, commit.commit)
    previous = _previous(session, commit)
    if (current := rollout_rows.current_rollout(session, task)) is not None:
        _supersede(session, current, commit, previous, change)
    row = RolloutRow(
        task=task,
        commit=commit.commit,
        status=R.PENDING,
        status_since=now,
        wave=0,
        wave_since=now,
        approved=0,
        hold=windows.reason_to_hold(policy.windows, now),
        why=change.why,
        previous=previous,
        policy=policy.model_dump(mode="json"),
        attempt=attempt,
        created_at=now,
    )
    session.add(row)
    session.flush()
    rollout_rows.log(session, row, change, "pending", rollout=row.id)
    notify(session, WorkForRollouts())
    return row


def policy_of_task(session: Session, task: str) -> RolloutPolicy:
    """How the task's commits are rolled out; as usual, where its source says nothing."""
    source = session.get(SourceRow, task)
    return RolloutPolicy() if source is None else RolloutPolicy.model_validate(source.policy)


def _previous(session: Session, commit: CommitRow) -> str | None:
    """What devices go back to when it is no good: what proved good last, unless it is that itself."""
    good = rollout_rows.last_good_commit(session, commit.task)
    if good != commit.commit:
        return good
    before = rollout_rows.newest_rollout(session, commit.task, commit.commit)
    return before.previous if before is not None else None


def _supersede(
    session: Session, row: RolloutRow, by: CommitRow, previous: str | None, change: Change
) -> None:
    """Who was asked for it and does not run it yet need not begin: it goes back to what was good."""
    moving = row.status in ROLLOUT_MOVING
    why = f"commit {short_commit(by.commit)} is rolled out"
    rollout_rows.move_rollout(session, row, R.SUPERSEDED, Change(change.who, why, change.at))
    if not moving:
        return
    actual = DeploymentRow.actual
    not_there = deployments.asked_by(session, row, actual.is_(None) | (actual != row.commit))
    target = back_to(session, row.task, previous)
    deployments.ask(session, row.task, not_there, target, change.at)


# --- ending ----------------------------------------------------------------------------------


def stop(session: Session, row: RolloutRow, change: Change) -> None:
    """End a rollout: every device that was asked for the commit is asked for the one before."""
    asked = deployments.asked_by(session, row)
    rollout_rows.move_rollout(session, row, R.STOPPED, change)
    deployments.ask(session, row.task, asked, back_to(session, row.task, row.previous), change.at)


def roll_back(session: Session, row: RolloutRow, config_of: ConfigOf, change: Change) -> None:
    """Stop a rollout, and let the task's next runs use the commit before again."""
    if row.previous is None:
        raise Conflict(
            f"there is nothing to roll task '{row.task}' back to: commit {short_commit(row.commit)} "
            "is the first that it has"
        )
    commit = rollout_rows.require_sound(session, row.task, row.previous)
    was_used = rollout_rows.commit_in_use(session, row.task) == row.commit
    stop(session, row, change)
    if was_used:
        adopt(session, commit, config_of, change)


# --- what a person decides -------------------------------------------------------------------


def bundle_to_roll_back_to(session: Session, task: str) -> str | None:
    """The app that a roll back would need the config of, so that it is read before."""
    tasks.require_task(session, task)
    row = rollout_rows.current_rollout(session, task)
    if row is None or row.previous is None:
        return None
    commit = rollout_rows.find_commit(session, task, row.previous)
    return commit.bundle if commit else None


def decide(
    session: Session, task: str, body: RolloutDecision, config_of: ConfigOf, now: float
) -> RolloutRow | None:
    """What a person decided. Returns the rollout that it was about. ``Conflict`` when it cannot be."""
    tasks.require_task(session, task)
    said = f": {body.because}" if body.because else ""
    if body.decision == "unpin":
        _pin(session, task, None, Change(event_log.OPERATOR, f"unpinned{said}", now))
        return rollout_rows.newest_rollout(session, task)
    row = _require_current(session, task)
    change = Change(event_log.OPERATOR, f"{_DONE[body.decision]} by a person{said}", now)
    match body.decision:
        case "approve":
            _approve(session, row, change)
        case "pause":
            rollout_rows.move_rollout(session, row, R.PAUSED, change)
        case "resume":
            _require_paused(row, "resumed")
            rollout_rows.move_rollout(session, row, R.WAVING, change, wave_since=now)
        case "stop":
            _require_moving(row)
            stop(session, row, change)
        case "roll_back":
            roll_back(session, row, config_of, change)
    notify(session, WorkForRollouts())
    return row


_DONE = {
    "approve": "approved",
    "pause": "paused",
    "resume": "resumed",
    "stop": "stopped",
    "roll_back": "rolled back",
}


def _require_current(session: Session, task: str) -> RolloutRow:
    row = rollout_rows.current_rollout(session, task)
    if row is not None:
        return row
    newest = rollout_rows.newest_rollout(session, task)
    state = f"the last one is {newest.status.value}: {newest.why}" if newest else "there was none"
    raise Conflict(
        f"task '{task}' has no rollout going on ({state}); 'fedops task rollout {task}' begins one"
    )


def _require_paused(row: RolloutRow, what: str) -> None:
    if row.status is not R.PAUSED:
        raise Conflict(
            f"the rollout of commit {short_commit(row.commit)} is {row.status.value}: only one that is "
            f"paused can be {what}"
        )


def _require_moving(row: RolloutRow) -> None:
    if row.status is R.HOLDING:
        raise Conflict(
            f"the rollout of commit {short_commit(row.commit)} has asked every device; "
            f"'fedops task roll-back {row.task}' takes it back"
        )


def _approve(session: Session, row: RolloutRow, change: Change) -> None:
    """The next wave may begin, whatever the one before is like, unless it failed."""
    _require_paused(row, "approved")
    values = {"approved": row.wave + 1, "wave_since": change.at}
    rollout_rows.move_rollout(session, row, R.WAVING, change, **values)


def _pin(session: Session, task: str, commit: str | None, change: Change) -> None:
    source = session.get(SourceRow, task)
    if source is None:
        raise Conflict(
            f"task '{task}' has no source, so nothing newer is rolled out by itself; "
            f"'fedops task source {task} --git URL' names one"
        )
    if source.pinned == commit:
        return
    source.pinned = commit
    what, text = ("source.pinned", short_commit(commit)) if commit else ("source.unpinned", "")
    event_log.append_event(session, change.at, change.who, f"task {task}", what, text)
    notify(session, WorkForRollouts())
