"""Blobs in a folder: ``ab/cdef...`` under its root; what is on its way in lies in ``incoming``.

Beside an unfinished file ``NAME`` lies ``NAME.note``, what was said of it when it began: with both it can be
resumed. Of several processes that have the folder, each writes only to files that it made: one that goes on
with another's upload does so in a copy, whatever the other one still writes.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from fedops.core.contracts import BlobRef
from fedops.core.errors import Invalid, NotFound, Unavailable
from fedops.failpoints import reached
from fedops.platforms.files import (
    BINARY,
    NO_LINKS,
    READ_AND_SYNC,
    is_ours,
    link_file,
    link_open_file,
    open_others,
    read_at,
    sync_data,
)
from fedops.storage.atomic_files import sha256_of, write_atomic
from fedops.storage.blobs import (
    MISSING,
    UNFINISHED_SECONDS,
    WrongDigest,
    damaged,
    is_digest,
    keep,
    not_there,
    require_digest,
)
from fedops.storage.disk import disk_errors, sync_folders
from fedops.storage.open_files import mark_of, read_exactly, write_all

_NAME = re.compile(r"[0-9a-zA-Z_-]{1,128}")
_BLOCK = 1 << 20
_WRITE = os.O_RDWR | os.O_APPEND | BINARY


class FolderBlobs:
    """Blobs in a folder: ``ab/cdef...`` under its root. ``shared``: other processes take in files, too."""

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        self.root = root
        self.shared = shared
        self.incoming = root / "incoming"
        #: The unfinished files that this process writes to.
        self._open: set[str] = set()

    def begin(self, name: str | None = None, note: bytes = b"") -> FolderUpload:
        unfinished = FolderUpload(self, _named(name or secrets.token_hex(16)), note)
        unfinished.secured = name is None
        with disk_errors(self.root):
            self.incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished.create()
        return unfinished

    def resume(self, name: str) -> FolderUpload:
        note = self.incoming / f"{_named(name)}.note"
        try:
            unfinished = FolderUpload(self, name, note.read_bytes())
        except FileNotFoundError:
            raise NotFound(f"there is no unfinished upload '{name}'") from None
        unfinished.reopen()
        return unfinished

    def discard(self, name: str) -> None:
        self._open.discard(name)
        for file in (self.incoming / _named(name), self.incoming / f"{name}.note"):
            file.unlink(missing_ok=True)

    def unfinished(self) -> list[str]:
        return sorted(file.stem for file in self.incoming.glob("*.note"))

    def adopt(self, path: Path, sha256: str | None = None) -> FolderUpload:
        unfinished = FolderUpload(self, secrets.token_hex(16), b"")
        with disk_errors(self.root):
            self.incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished.adopt(path)
        try:
            return unfinished.stage(sha256)
        except BaseException:
            unfinished.abort()
            raise

    def path(self, sha256: str) -> Path:
        found = place_of(self.root, sha256)
        if not found.is_file():
            raise not_there(sha256)
        return found

    def read(self, sha256: str, offset: int, size: int) -> bytes:
        try:
            file = os.open(place_of(self.root, sha256), os.O_RDONLY | BINARY)
        except FileNotFoundError:
            raise not_there(sha256) from None
        try:
            return read_exactly(file, offset, size, sha256)
        finally:
            os.close(file)

    def size(self, sha256: str) -> int:
        return self.path(sha256).stat().st_size

    def exists(self, sha256: str) -> bool:
        return place_of(self.root, sha256).is_file()

    def location(self, sha256: str, seconds: float) -> str | None:
        return None

    def check(self, sha256: str) -> str | None:
        try:
            found = sha256_of(self.path(sha256))
        except NotFound:
            return MISSING
        except OSError as error:
            return f"its file cannot be read: {error.strerror}"
        return None if found == sha256 else damaged(found)

    def remove(self, sha256: str) -> None:
        if is_digest(sha256):
            place_of(self.root, sha256).unlink(missing_ok=True)

    def stored(self, older_than: float) -> Iterator[str]:
        before = time.time() - older_than
        for file in self.root.glob("??/*"):
            digest = file.parent.name + file.name
            with suppress(FileNotFoundError):
                if is_digest(digest) and file.stat().st_ctime <= before:
                    yield digest

    def clean(self, older_than: float = UNFINISHED_SECONDS) -> None:
        self._make_folders()
        before = time.time() - older_than
        for name in {file.name.partition(".")[0] for file in self.incoming.glob("[!.]*")}:
            if name not in self._open and self._last_written(name) <= before:
                self.discard(name)

    def _make_folders(self) -> None:
        """All that files are placed in, so that no upload has to make one and bring it to the disk."""
        with disk_errors(self.root):
            for number in range(256):
                (self.root / f"{number:02x}").mkdir(parents=True, exist_ok=True)
            sync_folders([self.root])

    def _last_written(self, name: str) -> float:
        latest = 0.0
        for file in (self.incoming / name, self.incoming / f"{name}.note"):
            with suppress(FileNotFoundError):
                latest = max(latest, file.stat().st_mtime)
        return latest


class FolderUpload:
    """The unfinished file ``name`` of a folder: an ``Upload`` and, once it is complete, a ``Staged``."""

    def __init__(self, store: FolderBlobs, name: str, note: bytes) -> None:
        self._store = store
        self._name = name
        #: Where its bytes are.
        self.path = store.incoming / name
        self._note_path = store.incoming / f"{name}.note"
        self.note = note
        #: Whether its note is on the disk, or it needs none.
        self.secured = True
        self._file = -1
        #: How the file was when this process let go of it.
        self._left: tuple[int, ...] = ()
        self._hash = hashlib.sha256()
        self.size = 0
        self.ref = BlobRef(sha256="", size=0)

    # --- Upload -------------------------------------------------------------------------------

    def create(self) -> None:
        """Begin from nothing."""
        for before in (self._note_path, self.path):
            before.unlink(missing_ok=True)
        self._open(_WRITE | os.O_CREAT | os.O_EXCL)

    def adopt(self, source: Path) -> None:
        """Begin from a file that is complete."""
        try:
            if not stat.S_ISREG(source.stat(follow_symlinks=False).st_mode):
                raise Invalid(f"{source.name} is no file")
            if not is_ours(source):  # its owner could write to it still
                self._copy(source)
                return
            link_file(source, self.path)
        except FileNotFoundError:
            raise NotFound(f"there is no file {source.name} to take over") from None
        except OSError:  # another file system, or one without links
            self._copy(source)
        else:
            self._open(READ_AND_SYNC)
            self.reopen()

    def _copy(self, source: Path) -> None:
        self.create()
        with open_others(source) as file:
            while block := file.read(_BLOCK):
                self.write(block)

    def write(self, *blocks: bytes) -> None:
        file = self._opened()
        added = 0
        try:
            with disk_errors(self._store.root):
                for block in blocks:
                    write_all(file, block)
                    added += len(block)
        except Unavailable:
            os.ftruncate(file, self.size)
            raise
        for block in blocks:
            self._hash.update(block)
        self.size += added

    def reopen(self) -> int:
        if self._store.shared and self._file >= 0 and not self._has_name():
            self._close()  # another process took it over, or ended it
        file = self._opened()
        if os.fstat(file).st_size != self.size:
            self._hash_again(file)
        return self.size

    def stage(self, sha256: str | None = None) -> FolderUpload:
        if self._file >= 0 and os.fstat(self._file).st_size != self.size:
            raise Unavailable("the upload has other bytes than were written to it: ask where it is")
        found = self._hash.hexdigest()
        if sha256 is not None and found != sha256:
            raise WrongDigest(
                f"the file has the sha256 {found}, and {sha256} was announced: it was damaged on its way, "
                "or is another file; it was not kept"
            )
        self.ref = BlobRef(sha256=found, size=self.size)
        return self

    def finish(self, sha256: str | None = None) -> BlobRef:
        return keep(self.stage(sha256))

    def secure(self) -> None:
        if not self.secured:
            with disk_errors(self._store.root):
                write_atomic(self._note_path, self.note, 0o600, durable=False)
            self.secured = True

    def pause(self) -> None:
        try:
            self.secure()
        finally:
            self._close()

    def abort(self) -> None:
        self._close()
        self._store.discard(self._name)

    def opened(self) -> BinaryIO:
        """Its bytes from the first on, also when another process took its name."""
        file = os.fdopen(os.dup(self._opened()), "rb")
        file.seek(0)
        return file

    # --- Staged -------------------------------------------------------------------------------

    def sync(self) -> None:
        if self._file < 0:
            raise Unavailable(f"the upload of {self.ref.sha256} was given up; begin it again")
        with disk_errors(self._store.root):
            sync_data(self._file)

    def place(self) -> Path:
        target = place_of(self._store.root, self.ref.sha256)
        with disk_errors(self._store.root):
            self._make_folder(target.parent)
            reached("server.artifact.synced")
            if self.path.exists() or not target.exists():
                if self._file >= 0 and not self._has_name():
                    raise _taken_over()
                self._name_as(target)
        return target.parent

    def _has_name(self) -> bool:
        """Another process that has the folder may have gone on with this upload, under the same name."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def done(self) -> None:
        self.abort()

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folders({folder.parent})

    def _name_as(self, target: Path) -> None:
        """A second name for the same file; what had the name before may be damaged, and is replaced."""
        try:
            self._link(target)
        except FileExistsError:
            if not target.samefile(self.path):
                beside = self._store.incoming / secrets.token_hex(16)
                self._link(beside)
                beside.replace(target)
        except PermissionError:  # a file system without links
            self.path.replace(target)

    def _link(self, target: Path) -> None:
        """A second name, of the file that is open: what has its first name may be another's by now."""
        try:
            link_open_file(self._file, self.path, target)
        except FileNotFoundError:
            raise _taken_over() from None

    # --- the open file ------------------------------------------------------------------------

    def _opened(self) -> int:
        if self._file < 0:
            with disk_errors(self._store.root):
                self._open(_WRITE | os.O_CREAT | NO_LINKS)
                if self._store.shared and mark_of(self._file) != self._left:
                    self._take_over()
            self.reopen()
        return self._file

    def _take_over(self) -> None:
        """Go on in a copy: the process that took it in so far may not know yet that it lost it."""
        source, self._file = self._file, -1
        beside = self._store.incoming / secrets.token_hex(16)
        try:
            self._file = os.open(beside, _WRITE | os.O_CREAT | os.O_EXCL, 0o600)
            self._begin_anew()
            while block := read_at(source, _BLOCK, self.size):
                write_all(self._file, block)
                self._hash.update(block)
                self.size += len(block)
            beside.replace(self.path)
        except BaseException:
            beside.unlink(missing_ok=True)
            self._close()
            raise
        finally:
            os.close(source)

    def _open(self, flags: int) -> None:
        self._file = os.open(self.path, flags, 0o600)
        self._store._open.add(self._name)

    def _close(self) -> None:
        file, self._file = self._file, -1
        self._store._open.discard(self._name)
        if file >= 0:
            self._left = mark_of(file)
            with suppress(OSError):  # what is left to be written has no place, and is not wanted
                os.close(file)

    def _begin_anew(self) -> None:
        """Nothing is known of its bytes, nor that they are what was announced."""
        self._hash, self.size = hashlib.sha256(), 0
        self.ref = BlobRef(sha256="", size=0)

    def _hash_again(self, file: int) -> None:
        self._begin_anew()
        with disk_errors(self._store.root):
            while block := read_at(file, _BLOCK, self.size):
                self._hash.update(block)
                self.size += len(block)


def _taken_over() -> Unavailable:
    return Unavailable("the upload was taken over by another server: it goes on there")


def place_of(root: Path, sha256: str) -> Path:
    """Where a folder keeps the file of that digest. ``Invalid`` when it is none."""
    require_digest(sha256)
    return root / sha256[:2] / sha256[2:]


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(f"'{name[:80]}' is no name of an upload")
    return name
