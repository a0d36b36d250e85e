"""Rollouts and commits as rows: which one counts, which commit is the last good one, and how they move."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import RolloutPolicy
from fedops.core.errors import Conflict, NotFound
from fedops.core.reasons.commits import short_commit
from fedops.core.states import (
    ROLLOUT_MOVING,
    ROLLOUT_TERMINAL,
    ROLLOUT_TRANSITIONS,
    CommitStatus,
    InvalidTransition,
    RolloutStatus,
)
from fedops.server.database.compare_and_set import transition
from fedops.server.database.tables import CommitRow, RolloutRow, SourceRow, TaskRow
from fedops.server.events import event_log
from fedops.server.events.event_log import Change


def current_rollout(session: Session, task: str) -> RolloutRow | None:
    """The rollout of a task that has not ended."""
    query = select(RolloutRow).where(RolloutRow.task == task, RolloutRow.ended_at.is_(None))
    return session.scalars(query).one_or_none()


def newest_rollout(session: Session, task: str, commit: str | None = None) -> RolloutRow | None:
    """The newest of a task, ended or not; of one of its commits, where that is named."""
    query = select(RolloutRow).where(RolloutRow.task == task)
    if commit is not None:
        query = query.where(RolloutRow.commit == commit)
    return session.scalars(query.order_by(RolloutRow.id.desc()).limit(1)).first()


def newest_attempt(session: Session, task: str, commit: str) -> int:
    """The newest attempt at a commit; 1 where there was none."""
    query = select(func.max(RolloutRow.attempt))
    found = session.scalars(query.where(RolloutRow.task == task, RolloutRow.commit == commit)).one()
    return found or 1


def find_commit(session: Session, task: str, commit: str) -> CommitRow | None:
    query = select(CommitRow).where(CommitRow.task == task, CommitRow.commit == commit)
    return session.scalars(query).one_or_none()


def commit_of_source(session: Session, source: SourceRow) -> CommitRow | None:
    """What the source names, if it is sound, else the newest sound one that was found since it was set."""
    sound = (CommitRow.task == source.task, CommitRow.status == CommitStatus.SOUND)
    query = select(CommitRow).where(*sound).order_by(CommitRow.id.desc()).limit(1)
    named = session.scalars(query.where(CommitRow.commit == source.commit)).first()
    return named or session.scalars(query.where(CommitRow.seen_at >= source.changed_at)).first()


def require_sound(session: Session, task: str, commit: str) -> CommitRow:
    """The commit, if it may be deployed.

    Raises:
        NotFound: nobody has seen it in the task's source.
        Conflict: it was not found sound, with the reason.
    """
    row, see = find_commit(session, task, commit), f"'fedops task commits {task}' lists them"
    if row is None:
        raise NotFound(f"the source of task '{task}' has no commit {short_commit(commit)}; {see}")
    if row.status is not CommitStatus.SOUND or row.bundle is None:
        why = f": {row.reason}" if row.reason else ""
        raise Conflict(f"commit {short_commit(commit)} is {row.status.value}{why}; {see}")
    return row


def commits_of_bundle(session: Session, task: str, bundle: str | None) -> list[str]:
    """The commits of a task whose app is this one, the newest first: a commit need not change the app."""
    if bundle is None:
        return []
    query = select(CommitRow.commit).where(CommitRow.task == task, CommitRow.bundle == bundle)
    return list(session.scalars(query.order_by(CommitRow.id.desc())))


def commit_in_use(session: Session, task: str) -> str | None:
    """The commit that the task's next run uses. None: its app came from none."""
    row = session.get_one(TaskRow, task)
    commits = commits_of_bundle(session, task, row.bundle)
    if len(commits) < 2:
        return commits[0] if commits else None
    query = (
        select(RolloutRow.commit)
        .where(RolloutRow.task == task, RolloutRow.commit.in_(commits))
        .where(RolloutRow.status.in_((RolloutStatus.HOLDING, RolloutStatus.SUPERSEDED)))
    )
    rolled_out = session.scalars(query.order_by(RolloutRow.id.desc()).limit(1)).first()
    return rolled_out or commits[0]


def last_good_commit(session: Session, task: str) -> str | None:
    """What a device is asked for while nothing newer has passed its gates. None: nothing has yet."""
    commit = commit_in_use(session, task)
    newest = newest_rollout(session, task, commit) if commit else None
    if newest is not None and newest.status in (*ROLLOUT_MOVING, RolloutStatus.STOPPED):
        return None
    return commit


def policy_of(row: RolloutRow) -> RolloutPolicy:
    return RolloutPolicy.model_validate(row.policy)


def move_rollout(
    session: Session, row: RolloutRow, new: RolloutStatus, change: Change, **values: Any
) -> bool:
    """Take a rollout to a state, if it is not there yet, and log it."""
    if new in ROLLOUT_TERMINAL:
        values.setdefault("ended_at", change.at)
        values.setdefault("hold", "")
    values.setdefault("why", change.why)
    try:
        before = transition(
            session, row, "status", ROLLOUT_TRANSITIONS, new, status_since=change.at, **values
        )
    except InvalidTransition:
        raise Conflict(
            f"the rollout of commit {short_commit(row.commit)} of task '{row.task}' is "
            f"{row.status.value}: it cannot become {new.value}; 'fedops task status {row.task}' says more"
        ) from None
    if before is not None:
        states = {"before": before.value, "after": new.value, "rollout": row.id}
        log(session, row, change, new.value, **states)
    return before is not None


def log(session: Session, row: RolloutRow, change: Change, what: str, **data: Any) -> None:
    """``rollout.waving``: under the task, with the commit in front."""
    text = f"commit {short_commit(row.commit)}" + (f": {change.why}" if change.why else "")
    subject, name = f"task {row.task}", f"rollout.{what}"
    event_log.append_event(session, change.at, change.who, subject, name, text, **data)
