"""Which stored files the database knows of; the bytes are in a store of ``storage.blobs``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from fedops.core.contracts import BlobRef
from fedops.core.errors import NotFound
from fedops.server.database.tables import ArtifactRow, RemovalRow
from fedops.storage.blobs import BlobStore
from fedops.storage.folder_blobs import FolderBlobs

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def record_blob(session: Session, ref: BlobRef, now: float) -> None:
    """Know that the store holds this file. Repeating is harmless."""
    insert = _INSERTS[session.get_bind().dialect.name]
    new = insert(ArtifactRow).values(sha256=ref.sha256, size=ref.size, created_at=now)
    again = {"renewed_at": now, "removed_at": None}
    session.execute(new.on_conflict_do_update(index_elements=["sha256"], set_=again))


def is_known_blob(session: Session, sha256: str) -> bool:
    """Whether a file was uploaded to stay."""
    row = session.get(ArtifactRow, sha256, populate_existing=True)
    return row is not None and row.removed_at is None


def require_blob(session: Session, sha256: str, what: str) -> BlobRef:
    """An artifact that was uploaded before, as ``what``."""
    row = session.get(ArtifactRow, sha256, populate_existing=True)
    if row is None or row.removed_at is not None:
        raise NotFound(f"the {what} {sha256} was not uploaded to this server")
    return BlobRef(sha256=row.sha256, size=row.size)


def give_up_blobs(session: Session, files: set[str], now: float) -> None:
    """These files go, unless something else needs them."""
    query = select(RemovalRow.sha256).where(RemovalRow.sha256.in_(files))
    new = files - set(session.scalars(query))
    session.add_all(RemovalRow(sha256=sha256, since=now) for sha256 in sorted(new))
    session.flush()


def folder(store: BlobStore) -> Path | None:
    """The folder that the files are in, where there is one on this machine."""
    return store.root if isinstance(store, FolderBlobs) else None
