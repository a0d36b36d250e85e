"""Tasks without an app yet: the first commit of their source that is found sound makes them ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.errors import Conflict
from fedops.core.states import TASK_TRANSITIONS, CommitStatus, TaskStatus
from fedops.server.database.compare_and_set import transition
from fedops.server.database.tables import CommitRow, SourceRow, TaskRow
from fedops.server.devices.membership import renew_problems
from fedops.server.events import event_log
from fedops.server.events.event_log import Change


def draft_words(name: str) -> str:
    """Why a draft cannot do what was asked of it."""
    return (
        f"task '{name}' is a draft: it has no app before its first commit is found sound; "
        f"'fedops task show {name}' says what it waits for"
    )


def require_app(row: TaskRow) -> str:
    """The bundle that a task has. ``Conflict``: it is a draft."""
    if row.bundle is None:
        raise Conflict(draft_words(row.name))
    return row.bundle


def make_ready(
    session: Session, row: TaskRow, bundle: str, config: Mapping[str, Any], why: str, now: float
) -> None:
    """Give a draft its app. One that was archived meanwhile has it when it is taken out again."""
    row.bundle, row.config, row.updated_at = bundle, dict(config), now
    session.flush()
    if row.status is not TaskStatus.DRAFT:
        return
    before = transition(session, row, "status", TASK_TRANSITIONS, TaskStatus.READY)
    if before is not None:
        change = Change(event_log.SERVER, why, now)
        event_log.append_transition(session, change, f"task {row.name}", (before, TaskStatus.READY))
    renew_problems(session, row.name)


def waits_for(session: Session, row: TaskRow) -> tuple[str, bool]:
    """What a draft waits for, as a sentence, and whether it will not get better by itself."""
    if row.status is not TaskStatus.DRAFT:
        return "", False
    source = session.get(SourceRow, row.name)
    if source is None:
        return _without_source(row.name), True
    if source.problem:
        return f"its source cannot be read: {source.problem}", True
    if source.commit is None:
        return f"its source {source.url} is being read for the first time", False
    query = select(CommitRow).where(CommitRow.task == row.name, CommitRow.commit == source.commit)
    return _of_commit(session.scalars(query).one_or_none(), row.name)


def _without_source(name: str) -> str:
    return (
        f"it has neither an app nor a source; give it one with 'fedops task source {name}' or "
        f"'fedops task update {name} --app PATH'"
    )


def _of_commit(commit: CommitRow | None, name: str) -> tuple[str, bool]:
    if commit is None:
        return "its source is being read", False
    short = commit.commit[:12]
    if commit.status is CommitStatus.REFUSED:
        return (
            f"commit {short} was refused: {commit.reason}; push another one, or once that is mended: "
            f"'fedops task commits {name} --check {short}'"
        ), True
    if commit.status is CommitStatus.CHECKING:
        return f"commit {short} is being checked", False
    return f"commit {short} waits to be checked", False
