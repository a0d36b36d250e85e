"""The life of a commit: found, checked, sound or refused. Each change is one of the database's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import CommitChanges, CommitRead
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.printable import printable
from fedops.core.states import COMMIT_TRANSITIONS, CommitStatus, TaskStatus
from fedops.server.database.compare_and_set import transition
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import CommitRow, SourceRow, TaskRow
from fedops.server.events import event_log
from fedops.server.tasks import tasks

#: How often the check of one commit is begun: it may be what ends the server.
MOST_CHECKS = 3
_LONGEST_REASON = 2_000
_LISTED = 50
_SHORTEST = 7


@dataclass(frozen=True)
class CommitToCheck:
    """A commit whose turn it is, and what its task wants of it."""

    id: int
    task: str
    commit: str
    subfolder: str
    url: str
    overrides: tuple[str, ...]
    #: How often its check was begun, this time included.
    checks: int
    #: The commit that was sound before it, with what is known of that.
    before: str | None
    bundle_before: str | None
    requirements_before: tuple[str, ...]


_WAITING = (
    select(CommitRow)
    .join(SourceRow, SourceRow.task == CommitRow.task)
    .join(TaskRow, TaskRow.name == CommitRow.task)
    .where(CommitRow.status == CommitStatus.FOUND, TaskRow.status != TaskStatus.ARCHIVED)
    .order_by(CommitRow.status_since, CommitRow.id)
    .limit(1)
)


# --- turns -----------------------------------------------------------------------------------


def is_any_waiting(session: Session) -> bool:
    """Whether a commit waits to be checked."""
    return session.scalars(_WAITING).first() is not None


def next_to_check(session: Session, now: float) -> CommitToCheck | None:
    """The commit that has waited longest, which is being checked from now on. None: none waits."""
    row = session.scalars(_WAITING).first()
    if row is None:
        return None
    move(session, row, CommitStatus.CHECKING, "", now, checks=row.checks + 1)
    return _to_check(session, row)


def is_any_checked(session: Session) -> bool:
    """Whether somebody has begun to check a commit and has not said what came of it."""
    query = select(CommitRow.id).where(CommitRow.status == CommitStatus.CHECKING)
    return session.scalars(query.limit(1)).first() is not None


def begin_anew(session: Session, now: float) -> None:
    """Who was checking is gone: its commits wait again, or are refused if that happened too often."""
    for row in session.scalars(select(CommitRow).where(CommitRow.status == CommitStatus.CHECKING)):
        if row.checks < MOST_CHECKS:
            move(session, row, CommitStatus.FOUND, "the server ended while it was checked", now)
        else:
            reason = (
                f"the server ended {row.checks} times while it was checked, so it is not tried again by "
                "itself: does importing it use up the machine's memory?"
            )
            move(session, row, CommitStatus.REFUSED, reason, now)


def _to_check(session: Session, row: CommitRow) -> CommitToCheck:
    source = session.get_one(SourceRow, row.task)
    task = session.get_one(TaskRow, row.task)
    before = newest_sound(session, row.task)
    return CommitToCheck(
        id=row.id,
        task=row.task,
        commit=row.commit,
        subfolder=row.subfolder,
        url=source.url,
        overrides=tuple(task.overrides),
        checks=row.checks,
        before=before.commit if before else None,
        bundle_before=before.bundle if before else None,
        requirements_before=tuple(before.requirements) if before else (),
    )


# --- changes ---------------------------------------------------------------------------------


def move(
    session: Session, row: CommitRow, new: CommitStatus, reason: str, now: float, **values: Any
) -> None:
    """Change the state of a commit, with the reason, and log it. ``Conflict``: the table has no such edge."""
    text = printable(reason)[:_LONGEST_REASON]
    told = {"reason": text, "status_since": now, **values}
    before = transition(session, row, "status", COMMIT_TRANSITIONS, new, **told)
    if before is None:
        return
    words = f"{row.commit[:12]}: {text}" if text else f"{row.commit[:12]} {row.subject}".strip()
    event_log.append_event(
        session,
        now,
        event_log.SERVER,
        f"task {row.task}",
        f"commit.{new.value}",
        words,
        commit=row.commit,
        before=before.value,
        after=new.value,
    )


def skip_waiting(session: Session, task: str, why: str, now: float) -> None:
    """Commits of a task that wait to be checked are passed over."""
    query = select(CommitRow).where(CommitRow.task == task, CommitRow.status == CommitStatus.FOUND)
    for row in session.scalars(query).all():
        move(session, row, CommitStatus.SKIPPED, why, now)


def is_of_another_folder(row: CommitRow, subfolder: str) -> bool:
    """Whether a commit was found sound with another folder of the repository as its app."""
    return row.status is CommitStatus.SOUND and row.subfolder != subfolder


def wanted_again(session: Session, row: CommitRow, subfolder: str, now: float) -> None:
    """A commit that was seen before is the one that the source has now."""
    other = row.subfolder != subfolder
    row.subfolder = subfolder
    if row.status is CommitStatus.SKIPPED or (row.status is CommitStatus.REFUSED and other):
        move(session, row, CommitStatus.FOUND, "", now, checks=0)


def check_again(session: Session, task: str, name: str, now: float) -> CommitRead:
    """Have a commit checked once more that was refused or passed over.

    Raises:
        NotFound: the task has no such commit.
        Conflict: it is sound, or waits already.
    """
    row = require_commit(session, task, name)
    source = session.get(SourceRow, task)
    if source is None:
        raise Conflict(f"task '{task}' has no source any more, so no commit of it is checked")
    if row.status not in (CommitStatus.REFUSED, CommitStatus.SKIPPED):
        raise Conflict(
            f"commit {row.commit[:12]} is {row.status.value}: only one that was refused or skipped is "
            "checked again"
        )
    row.subfolder = source.subfolder
    move(session, row, CommitStatus.FOUND, "", now, checks=0)
    return commit_read(row)


# --- reading ---------------------------------------------------------------------------------


def commit_of(session: Session, task: str, commit: str) -> CommitRow | None:
    """What is known of a commit of a task."""
    query = select(CommitRow).where(CommitRow.task == task, CommitRow.commit == commit)
    return session.scalars(query).one_or_none()


def newest_sound(session: Session, task: str) -> CommitRow | None:
    """The commit that was found sound last."""
    query = (
        select(CommitRow)
        .where(CommitRow.task == task, CommitRow.status == CommitStatus.SOUND)
        .order_by(CommitRow.status_since.desc(), CommitRow.id.desc())
        .limit(1)
    )
    return session.scalars(query).first()


def require_commit(session: Session, task: str, name: str) -> CommitRow:
    """A commit by its name or the beginning of it. ``NotFound`` names the newest ones."""
    tasks.require_task(session, task)
    if len(name) < _SHORTEST:
        raise Invalid(f"'{name}' is too short for a commit: give {_SHORTEST} digits at least")
    begins = CommitRow.commit.startswith(name, autoescape=True)
    found = session.scalars(select(CommitRow).where(CommitRow.task == task, begins).limit(2)).all()
    if len(found) == 1:
        return found[0]
    if found:
        raise Invalid(f"'{name}' is the beginning of several commits: give more of it")
    known = ", ".join(row.commit[:12] for row in _newest(session, task, 5)) or "none yet"
    raise NotFound(f"task '{task}' has no commit '{name}'; the newest are: {known}")


def list_commits(session: Session, task: str, limit: int = _LISTED) -> list[CommitRead]:
    """The commits of a task, the newest first. ``NotFound``: there is no such task."""
    tasks.require_task(session, task)
    return [commit_read(row) for row in _newest(session, task, limit)]


def _newest(session: Session, task: str, limit: int) -> Sequence[CommitRow]:
    query = select(CommitRow).where(CommitRow.task == task)
    return session.scalars(query.order_by(CommitRow.id.desc()).limit(limit)).all()


def commit_read(row: CommitRow) -> CommitRead:
    """A commit as the API shows it."""
    return read_as(CommitRead, row, changes=CommitChanges.model_validate(row.changes))
