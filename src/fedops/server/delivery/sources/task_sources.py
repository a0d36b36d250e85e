"""The sources of tasks: set and removed by people, looked at by the server, followed wherever they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import RolloutPolicy, SourceRead, SourceSet, TaskCreate, TaskRead
from fedops.core.errors import Conflict, NotFound
from fedops.core.printable import printable
from fedops.core.states import CommitStatus, TaskStatus
from fedops.server.database.tables import CommitRow, SourceRow, TaskRow
from fedops.server.delivery.commits import commit_states
from fedops.server.delivery.repositories.found import Found
from fedops.server.delivery.repositories.git_errors import shown
from fedops.server.delivery.repositories.source_url import parse_url
from fedops.server.delivery.rollouts.delivery_views import source_view
from fedops.server.delivery.rollouts.windows import require_readable
from fedops.server.events import event_log
from fedops.server.tasks import tasks

_DUE_AT_ONCE = 50
_LONGEST_PROBLEM = 2_000


@dataclass(frozen=True)
class DueSource:
    """A source that is to be looked at, as it was set."""

    task: str
    url: str
    ref: str
    subfolder: str
    poll_seconds: float
    #: The commit that it had last.
    commit: str | None
    #: Tells whether it was set anew while it was looked at.
    changed_at: float


# --- what people do --------------------------------------------------------------------------


def create_from_source(
    session: Session, body: TaskCreate, private: Sequence[Path], now: float
) -> TaskRead:
    """A new task that is a draft until the first commit of its source is found sound."""
    made = tasks.create_draft(session, body, now)
    assert body.source is not None
    set_source(session, made.name, body.source, private, now)
    return tasks.read_task(session, made.name)


def set_source(
    session: Session, task: str, body: SourceSet, private: Sequence[Path], now: float
) -> SourceRead:
    """Say where the code of a task comes from. It is looked at at once.

    ``private``: folders that are no source, because the server keeps its own there.

    Raises:
        NotFound: there is no such task.
        Conflict: the task is archived.
        Invalid, Forbidden: the URL is none that a source may have, or nobody understands a window.
    """
    _require_current(session, task)
    url = parse_url(body.url, private)
    if body.policy is not None:
        require_readable(body.policy.windows)
    row = session.get(SourceRow, task)
    if row is None:
        row = SourceRow(task=task, commit=None, pinned=None, looked_at=None)
        row.policy = RolloutPolicy().model_dump(mode="json")
        session.add(row)
    elif (row.url, row.ref) != (body.url, body.ref):
        row.commit = row.pinned = row.looked_at = None
        commit_states.skip_waiting(session, task, "the source is another one now", now)
    elif row.subfolder != body.subfolder.strip("/"):
        row.commit = None  # its app is another one
    row.url, row.ref = body.url, body.ref if url.is_git else ""
    row.subfolder, row.poll_seconds = body.subfolder.strip("/"), body.poll_seconds
    if body.policy is not None:
        row.policy = body.policy.model_dump(mode="json")
    row.problem, row.changed_at, row.look_at = "", now, now
    _log(session, now, event_log.OPERATOR, task, "source.set", _described(row))
    session.flush()
    return source_read(session, task)


def remove_source(session: Session, task: str, now: float) -> None:
    """From now on the task keeps the code that it has. Its commits stay readable."""
    row = require_source(session, task)
    _log(session, now, event_log.OPERATOR, task, "source.removed", _described(row))
    session.delete(row)
    commit_states.skip_waiting(session, task, "the source was removed", now)
    session.flush()


def look_soon(session: Session, task: str, now: float) -> SourceRead:
    """Have a source looked at at once."""
    _require_current(session, task)
    require_source(session, task).look_at = now
    session.flush()
    return source_read(session, task)


def source_read(session: Session, task: str) -> SourceRead:
    """The source of a task. ``NotFound``: it has none."""
    return source_view(require_source(session, task))


def require_source(session: Session, task: str) -> SourceRow:
    """The source of a task. ``NotFound``: there is no such task, or it has none."""
    tasks.require_task(session, task)
    row = session.get(SourceRow, task)
    if row is None:
        raise NotFound(
            f"task '{task}' has no source: give it one with 'fedops task source {task} --git URL'"
        )
    return row


def _require_current(session: Session, task: str) -> None:
    if tasks.require_task(session, task).status is TaskStatus.ARCHIVED:
        raise Conflict(
            f"task '{task}' is archived; 'fedops task unarchive {task}' takes it out again"
        )


def _described(row: SourceRow) -> str:
    parts = [shown(row.url), f"ref {row.ref}" if row.ref else ""]
    return ", ".join(filter(None, [*parts, f"folder {row.subfolder}" if row.subfolder else ""]))


# --- what looks find -------------------------------------------------------------------------


def sources_due(session: Session, now: float) -> list[DueSource]:
    """The sources that are to be looked at now, those that wait longest first."""
    query = (
        select(SourceRow)
        .join(TaskRow, TaskRow.name == SourceRow.task)
        .where(SourceRow.look_at <= now, TaskRow.status != TaskStatus.ARCHIVED)
        .order_by(SourceRow.look_at)
        .limit(_DUE_AT_ONCE)
    )
    return [
        DueSource(
            row.task, row.url, row.ref, row.subfolder, row.poll_seconds, row.commit, row.changed_at
        )
        for row in session.scalars(query)
    ]


def record_look(
    session: Session, due: DueSource, found: Found, looked_at: float, now: float
) -> None:
    """What a source has now. A history that was replaced is followed, and said.

    ``looked_at``: when the look began. Who asked for one since then gets another.
    """
    row = _same_source(session, due)
    if row is None:
        return
    next_at = now + due.poll_seconds if due.poll_seconds else None
    known = commit_states.commit_of(session, due.task, found.commit)
    if known is not None and commit_states.is_of_another_folder(known, due.subfolder):
        record_problem(session, due, _other_folder(known), looked_at, next_at)
        return
    if row.problem:
        _log(session, now, event_log.SERVER, due.task, "source.readable", "it can be read again")
    row.problem, row.looked_at = "", now
    _plan_next(row, looked_at, next_at)
    if found.commit != row.commit:
        _note_commit(session, row, found, known, now)
        row.commit = found.commit
    session.flush()


def _other_folder(known: CommitRow) -> str:
    return (
        f"commit {known.commit[:12]} was found sound with the folder '{known.subfolder or '.'}', and devices "
        "know it as that: push another commit, which is then taken from the new folder"
    )


def record_problem(
    session: Session, due: DueSource, problem: str, looked_at: float, again_at: float | None
) -> None:
    """A source could not be read. It is looked at again; what was deployed stays."""
    row = _same_source(session, due)
    if row is None:
        return
    text = printable(problem)[:_LONGEST_PROBLEM]
    if text != row.problem:
        _log(session, looked_at, event_log.SERVER, due.task, "source.problem", text)
    row.problem, row.looked_at = text, looked_at
    _plan_next(row, looked_at, again_at)
    session.flush()


def _plan_next(row: SourceRow, looked_at: float, at: float | None) -> None:
    if row.look_at is None or row.look_at <= looked_at:
        row.look_at = at


def _same_source(session: Session, due: DueSource) -> SourceRow | None:
    """The source, unless it was removed or set anew while it was looked at."""
    row = session.get(SourceRow, due.task)
    return row if row is not None and row.changed_at == due.changed_at else None


def _note_commit(
    session: Session, row: SourceRow, found: Found, known: CommitRow | None, now: float
) -> None:
    short = found.commit[:12]
    if found.rewritten:
        text = f"the history was replaced: {str(row.commit)[:12]} is not part of it, {short} is"
        _log(session, now, event_log.SERVER, row.task, "source.rewritten", text)
    text = f"{short} {found.subject}".strip()
    _log(session, now, event_log.SERVER, row.task, "commit.found", text, commit=found.commit)
    commit_states.skip_waiting(session, row.task, f"{short} came before it was checked", now)
    if known is None:
        session.add(_new_commit(row, found, now))
    else:
        known.seen_at = now  # it is the newest again
        commit_states.wanted_again(session, known, row.subfolder, now)


def _new_commit(row: SourceRow, found: Found, now: float) -> CommitRow:
    return CommitRow(
        task=row.task,
        commit=found.commit,
        status=CommitStatus.FOUND,
        status_since=now,
        subject=found.subject,
        author=found.author,
        authored_at=found.authored_at,
        seen_at=now,
        subfolder=row.subfolder,
        requirements=[],
        changes={},
    )


def _log(
    session: Session, now: float, who: str, task: str, name: str, text: str, **data: str
) -> None:
    event_log.append_event(session, now, who, f"task {task}", name, text, None, **data)
