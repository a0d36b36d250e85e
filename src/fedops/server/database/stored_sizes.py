"""How much the server keeps, by kind: files that something names, logs, pictures, the database itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, String, case, cast, exists, func, select, text
from sqlalchemy.orm import Session

from fedops.server.database.database import Database
from fedops.server.database.tables import (
    ArtifactRow,
    AssignmentRow,
    BundleRow,
    CommitRow,
    LogBookRow,
    ModelVersionRow,
    RecordRow,
    RoundRow,
)

#: What a device calls a contact sheet that its owner let go.
_PICTURE = "explanation_picture"
_NAMES = ("model versions", "apps and commits", "checkpoints of rounds", "updates of devices")


@dataclass(frozen=True)
class StoredKind:
    """One kind of what is kept. ``size``: bytes."""

    name: str
    count: int
    #: What is counted: "files", "logs".
    what: str
    size: int


def count_stored(db: Database) -> list[StoredKind]:
    """All kinds. A file that is several things counts as the first of them."""
    with db.read() as session:
        return [*_files(session), _logs(session), _pictures(session), _database(session, db)]


def _files(session: Session) -> Iterator[StoredKind]:
    """The stored files by what names them, counted in the database: there may be millions."""
    kind = case(*_naming(), else_="other files").label("kind")
    size = func.coalesce(func.sum(ArtifactRow.size), 0)
    query = (
        select(kind, func.count(), size).where(ArtifactRow.removed_at.is_(None)).group_by("kind")
    )
    found = {name: (count, int(held)) for name, count, held in session.execute(query)}
    for name in (*_NAMES, "other files"):
        count, held = found.get(name, (0, 0))
        yield StoredKind(name, count, "files", held)


def _naming() -> Iterator[tuple[ColumnElement[bool], str]]:
    """What a file is, the first that holds."""
    own = ArtifactRow.sha256
    version, commit = ModelVersionRow, CommitRow
    yield (
        own.in_(select(version.sha256))
        | own.in_(select(version.strategy_state).where(version.strategy_state.is_not(None))),
        _NAMES[0],
    )
    yield (
        own.in_(select(BundleRow.sha256))
        | own.in_(select(commit.pack).where(commit.pack.is_not(None))),
        _NAMES[1],
    )
    yield (
        exists().where(RoundRow.model == own) | exists().where(RoundRow.strategy_state == own),
        _NAMES[2],
    )
    yield exists().where(AssignmentRow.blob == own), _NAMES[3]


def _logs(session: Session) -> StoredKind:
    query = select(func.count(), func.coalesce(func.sum(LogBookRow.bytes), 0))
    count, size = session.execute(query.select_from(LogBookRow)).one()
    return StoredKind("logs of runs and devices", count, "logs", int(size))


def _pictures(session: Session) -> StoredKind:
    size = func.coalesce(func.sum(func.length(cast(RecordRow.data, String))), 0)
    query = select(func.count(), size).where(RecordRow.name == _PICTURE)
    count, held = session.execute(query.select_from(RecordRow)).one()
    return StoredKind("pictures of explanations", count, "pictures", int(held))


def _database(session: Session, db: Database) -> StoredKind:
    """With the logs and pictures, which are in it."""
    if not db.is_sqlite:
        size = session.scalars(text("SELECT pg_database_size(current_database())")).one()
        return StoredKind("database, with logs and pictures", 1, "database", int(size))
    path = Path(db.url.database or "")
    files = [one for one in (path, path.with_name(f"{path.name}-wal")) if one.is_file()]
    size = sum(one.stat().st_size for one in files)
    return StoredKind("database, with logs and pictures", len(files), "files", size)
