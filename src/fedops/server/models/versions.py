"""Global model versions and their aliases. A version is made once; all that changes is its quarantine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import ModelVersionRead
from fedops.core.errors import NotFound
from fedops.server.database.lookup import unknown_task
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import (
    AliasMoveRow,
    AliasRow,
    ArtifactRow,
    ModelVersionRow,
    TaskRow,
)
from fedops.server.events import event_log
from fedops.server.models.served_by import tell_served

LATEST = "latest"
ROLLED_BACK = "model.rolled_back"
_NUMBER = re.compile(r"[vV]?(\d{1,9})")


def create_version(
    session: Session, task: str, now: float, who: str, **values: Any
) -> ModelVersionRow:
    """The task's next version. Its number is counted up in the database and never used again."""
    number = session.scalars(
        update(TaskRow)
        .where(TaskRow.name == task)
        .values(next_version=TaskRow.next_version + 1)
        .returning(TaskRow.next_version)
        .execution_options(synchronize_session=False)
    ).one()
    row = ModelVersionRow(task=task, version=number - 1, created_at=now, **values)
    session.add(row)
    session.flush()
    text = f"V{row.version} of task {task}, {row.sha256[:12]}"
    subject = f"model {task} V{row.version}"
    event_log.append_event(session, now, who, subject, "model.created", text, row.run_id)
    return row


def move_alias(
    session: Session,
    task: str,
    name: str,
    version: int,
    now: float,
    who: str,
    event: str = "alias.moved",
) -> None:
    """Let an alias name another version, and remember where it was."""
    before = set_alias(session, task, name, version, now)
    session.add(
        AliasMoveRow(task=task, name=name, version=version, who=event_log.named(who), at=now)
    )
    log_move(session, task, name, (before, version), now, who, event)


def set_alias(session: Session, task: str, name: str, version: int, now: float) -> int | None:
    """Set an alias. Returns where it was."""
    row = session.get(AliasRow, (task, name))
    before = row.version if row else None
    if row is None:
        session.add(AliasRow(task=task, name=name, version=version, moved_at=now))
    else:
        row.version, row.moved_at = version, now
    tell_served(session, task, name)
    return before


def log_move(
    session: Session,
    task: str,
    name: str,
    moved: tuple[int | None, int],
    now: float,
    who: str,
    event: str,
) -> None:
    """Log from where to where an alias was moved."""
    before, after = moved
    text = f"{name} is V{after}" + (f", was V{before}" if before is not None else "")
    if event == ROLLED_BACK:
        text = f"{name} is V{after} again: its move to V{before} was rolled back"
    event_log.append_event(
        session, now, who, f"alias {task} {name}", event, text, before=before, after=after
    )


def aliases(session: Session, task: str) -> dict[str, int]:
    """Where the task's aliases point. ``latest`` is the newest version of a run not quarantined, always."""
    found = {
        a.name: a.version for a in session.scalars(select(AliasRow).where(AliasRow.task == task))
    }
    newest = newest_sound(session, task)
    if newest is None:
        found.pop(LATEST, None)
        return found
    return {**found, LATEST: newest}


def newest_sound(session: Session, task: str) -> int | None:
    """The newest version that a run has made and that is not quarantined."""
    made = (ModelVersionRow.task == task, ModelVersionRow.version > 0)
    sound = ModelVersionRow.quarantined_at.is_(None)
    return session.scalar(select(func.max(ModelVersionRow.version)).where(*made, sound))


def quarantined_since(session: Session, task: str, version: int) -> list[int]:
    """The quarantined versions that are newer than this one, the newest first."""
    query = select(ModelVersionRow.version).where(
        ModelVersionRow.task == task,
        ModelVersionRow.version > version,
        ModelVersionRow.quarantined_at.is_not(None),
    )
    return list(session.scalars(query.order_by(ModelVersionRow.version.desc())))


def follow_latest(session: Session, task: str, now: float, who: str) -> None:
    """Let ``latest`` name the newest version that is not quarantined, if it does not."""
    newest, row = newest_sound(session, task), session.get(AliasRow, (task, LATEST))
    if newest is not None and (row is None or row.version != newest):
        move_alias(session, task, LATEST, newest, now, who)
    elif newest is None and row is not None:
        text = f"there is no {LATEST}: V{row.version} is quarantined, and no other version was made"
        subject = f"alias {task} {LATEST}"
        event_log.append_event(
            session, now, who, subject, "alias.removed", text, before=row.version
        )
        session.delete(row)
        session.flush()
        tell_served(session, task, LATEST)


def find_version(session: Session, task: str, version: str) -> ModelVersionRow:
    """A version by number, ``V3`` or alias. ``NotFound`` names those there are."""
    if session.get(TaskRow, task) is None:
        raise NotFound(unknown_task(session, task))
    number = _NUMBER.fullmatch(version)
    wanted = int(number[1]) if number else aliases(session, task).get(version)
    row = session.get(ModelVersionRow, (task, wanted)) if wanted is not None else None
    if row is None and version == LATEST and session.get(ModelVersionRow, (task, 1)) is not None:
        found = f"'fedops model list {task}'"
        raise NotFound(f"task '{task}' has no latest: all versions are quarantined, see {found}")
    if row is None:
        raise NotFound(f"task '{task}' has no model version '{version}'; {_known(session, task)}")
    return row


def _known(session: Session, task: str) -> str:
    query = select(ModelVersionRow.version).where(ModelVersionRow.task == task)
    numbers = session.scalars(query.order_by(ModelVersionRow.version.desc()).limit(10)).all()
    names = [f"V{number}" for number in numbers] + list(aliases(session, task))
    if not names:
        return "it has none yet: its first completed run makes V1"
    return f"it has: {', '.join(names)}"


def fates(session: Session, run_ids: Sequence[int]) -> dict[int, tuple[str | None, str]]:
    """Of the versions that these runs made, by run: why it is quarantined, and what the gate said."""
    said = ModelVersionRow.lineage["gate"].as_string()
    query = select(ModelVersionRow.run_id, ModelVersionRow.quarantine, said).where(
        ModelVersionRow.run_id.in_(run_ids), ModelVersionRow.version > 0
    )
    return {run_id: (why, gate or "") for run_id, why, gate in session.execute(query)}


def list_versions(session: Session, task: str, newest: int | None = None) -> list[ModelVersionRead]:
    """All versions of a task, or so many of the newest, oldest first."""
    if session.get(TaskRow, task) is None:
        raise NotFound(unknown_task(session, task))
    query = (
        select(ModelVersionRow, ArtifactRow.size)
        .join(ArtifactRow, ArtifactRow.sha256 == ModelVersionRow.sha256)
        .where(ModelVersionRow.task == task)
        .order_by(ModelVersionRow.version.desc())
        .limit(newest)
    )
    named = aliases(session, task)
    return [_read(row, size, named) for row, size in reversed(session.execute(query).all())]


def newest_versions(
    session: Session,
    task: str | None,
    within: frozenset[str] | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[ModelVersionRead]:
    """The newest versions first, of one task or all (or all within these): a page of them."""
    query = (
        select(ModelVersionRow, ArtifactRow.size)
        .join(ArtifactRow, ArtifactRow.sha256 == ModelVersionRow.sha256)
        .where(*_of(session, task, within))
        .order_by(ModelVersionRow.created_at.desc(), ModelVersionRow.version.desc())
        .limit(limit)
        .offset(offset)
    )
    found = session.execute(query).all()
    named = {name: aliases(session, name) for name in {row.task for row, _ in found}}
    return [_read(row, size, named[row.task]) for row, size in found]


def count_versions(
    session: Session, task: str | None, within: frozenset[str] | None = None
) -> tuple[int, int]:
    """How many versions there are, and how many of them are quarantined."""
    quarantined = func.count(ModelVersionRow.quarantined_at)
    query = select(func.count(), quarantined).where(*_of(session, task, within))
    total, few = session.execute(query.select_from(ModelVersionRow)).one()
    return int(total), int(few)


def _of(
    session: Session, task: str | None, within: frozenset[str] | None
) -> list[ColumnElement[bool]]:
    if task is not None and session.get(TaskRow, task) is None:
        raise NotFound(unknown_task(session, task))
    chosen = [] if task is None else [ModelVersionRow.task == task]
    return chosen if within is None else [*chosen, ModelVersionRow.task.in_(within)]


def ancestors(session: Session, task: str, version: int, most: int = 12) -> list[int]:
    """The versions that one came from, its parent first, at most so many."""
    found: list[int] = []
    row = session.get(ModelVersionRow, (task, version))
    while row is not None and row.parent is not None and len(found) < most:
        found.append(row.parent)
        row = session.get(ModelVersionRow, (task, row.parent))
    return found


def versions_of_run(session: Session, task: str, run_id: int) -> list[ModelVersionRead]:
    """The versions that a run has made, oldest first."""
    query = (
        select(ModelVersionRow, ArtifactRow.size)
        .join(ArtifactRow, ArtifactRow.sha256 == ModelVersionRow.sha256)
        .where(ModelVersionRow.task == task, ModelVersionRow.run_id == run_id)
        .order_by(ModelVersionRow.version)
    )
    named = aliases(session, task)
    return [_read(row, size, named) for row, size in session.execute(query)]


def read_version(session: Session, task: str, version: str) -> ModelVersionRead:
    """One version."""
    return version_read(session, find_version(session, task, version))


def version_read(session: Session, row: ModelVersionRow) -> ModelVersionRead:
    """A version as it is shown."""
    artifact = session.get_one(ArtifactRow, row.sha256)
    return _read(row, artifact.size, aliases(session, row.task))


def _read(row: ModelVersionRow, size: int, named: dict[str, int]) -> ModelVersionRead:
    return read_as(
        ModelVersionRead,
        row,
        size=size,
        aliases=sorted(name for name, version in named.items() if version == row.version),
    )
