"""Files named by their content: models, strategy states, app bundles.

``ArtifactStore`` is the port; ``LocalArtifacts`` keeps them in a folder. A file is there completely
and on disk, or not at all. Rows about them (``record``) are the database's side.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedops.core.contracts import ArtifactRef
from fedops.core.errors import Invalid, NotFound, Unavailable
from fedops.failpoints import reached
from fedops.server.tables import ArtifactRow
from fedops.storage.atomic_files import sha256_of

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Upload(Protocol):
    """A file that is being taken in. ``finish`` or ``abort`` ends it."""

    @property
    def size(self) -> int: ...

    def write(self, block: bytes) -> None: ...

    def finish(self) -> ArtifactRef:
        """Make it durable under the name of its content."""
        ...

    def abort(self) -> None:
        """Leave nothing behind. Harmless after ``finish``."""
        ...


class ArtifactStore(Protocol):
    """Where artifacts are kept."""

    def begin(self) -> Upload: ...

    def path(self, sha256: str) -> Path:
        """The file. ``NotFound`` when it is not there."""
        ...

    def remove(self, sha256: str) -> None:
        """Forget a file. Not being there is no error."""
        ...

    def clean(self) -> None:
        """Remove what uploads of an earlier life left unfinished."""
        ...


class LocalArtifacts:
    """Artifacts in a folder: ``ab/cdef...`` under its root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def begin(self) -> Upload:
        with _disk_errors(self.root):
            return _LocalUpload(self.root)

    def path(self, sha256: str) -> Path:
        if not _DIGEST.fullmatch(sha256):
            raise Invalid(f"'{sha256[:80]}' is no sha256 (64 hex digits)")
        found = _place(self.root, sha256)
        if not found.is_file():
            raise NotFound(f"there is no artifact {sha256}")
        return found

    def remove(self, sha256: str) -> None:
        if _DIGEST.fullmatch(sha256):
            _place(self.root, sha256).unlink(missing_ok=True)

    def clean(self) -> None:
        for left in (self.root / "incoming").glob("*"):
            left.unlink(missing_ok=True)


class _LocalUpload:
    def __init__(self, root: Path) -> None:
        self._root = root
        folder = root / "incoming"
        folder.mkdir(parents=True, exist_ok=True)
        self._temporary = folder / secrets.token_hex(12)
        self._file: BinaryIO = self._temporary.open("xb")
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, block: bytes) -> None:
        with _disk_errors(self._root):
            self._file.write(block)
        self._hash.update(block)
        self.size += len(block)

    def finish(self) -> ArtifactRef:
        target = _place(self._root, self._hash.hexdigest())
        with _disk_errors(self._root):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            target.parent.mkdir(parents=True, exist_ok=True)
            reached("server.artifact.synced")
            self._temporary.replace(target)
            _sync_folder(target.parent)
        return ArtifactRef(sha256=self._hash.hexdigest(), size=self.size)

    def abort(self) -> None:
        with suppress(OSError):  # what is left to be written has no place, and is not wanted
            self._file.close()
        self._temporary.unlink(missing_ok=True)


def problem(store: ArtifactStore, sha256: str) -> str | None:
    """What is wrong with a stored file, read from its first to its last byte: None, or why not."""
    try:
        found = sha256_of(store.path(sha256))
    except NotFound:
        return "its file is missing"
    except OSError as error:
        return f"its file cannot be read: {error.strerror}"
    return None if found == sha256 else f"its file is damaged: its sha256 is {found[:12]}..."


def _place(root: Path, sha256: str) -> Path:
    return root / sha256[:2] / sha256[2:]


def _sync_folder(folder: Path) -> None:
    """A rename is durable once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk_errors(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "the server's disk is full" if full else f"cannot write: {error.strerror}"
        raise Unavailable(f"{what} ({where}); free some space and repeat") from error


# --- the database's side ---------------------------------------------------------------------


def record(session: Session, ref: ArtifactRef, now: float) -> None:
    """Know that the store holds this file. Repeating is harmless."""
    row = session.get(ArtifactRow, ref.sha256, with_for_update=True)
    if row is not None:
        row.renewed_at, row.removed_at = now, None
        return
    with suppress(IntegrityError), session.begin_nested():
        session.add(ArtifactRow(sha256=ref.sha256, size=ref.size, created_at=now))


def is_known(session: Session, sha256: str) -> bool:
    """Whether a file was uploaded to stay."""
    row = session.get(ArtifactRow, sha256)
    return row is not None and row.removed_at is None


def require(session: Session, sha256: str, what: str) -> ArtifactRef:
    """An artifact that was uploaded before, as ``what``."""
    row = session.get(ArtifactRow, sha256)
    if row is None or row.removed_at is not None:
        raise NotFound(f"the {what} {sha256} was not uploaded to this server")
    return ArtifactRef(sha256=row.sha256, size=row.size)
