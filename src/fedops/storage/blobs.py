"""Files named by their content, written once and never changed: models, updates, app bundles.

``BlobStore`` is the port. A file is there completely and on disk, or not at all; one that is on its way in
can be gone on with after a restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fedops.core.contracts import BlobRef
from fedops.core.errors import Invalid, NotFound, Unavailable
from fedops.storage.disk import sync_folders

_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Unfinished files that nobody wrote to for so long are removed. Seconds.
UNFINISHED_SECONDS = 86_400.0


class WrongDigest(Invalid):
    """The bytes that came are not those that were announced."""

    http_status = 460  # of tus: checksum mismatch


class Staged(Protocol):
    """A file that came completely and is not durable yet. Each step may be repeated.

    ``sync``, then ``place``, then the folder that it names is synced, then ``done``. Who commits a row about
    the file does so before ``done``: until then a crash leaves the file among the unfinished ones.
    """

    @property
    def ref(self) -> BlobRef: ...

    def sync(self) -> None:
        """Bring its bytes to the disk."""
        ...

    def place(self) -> Path | None:
        """Give it the name of its content. The folder that must be synced, if any."""
        ...

    def done(self) -> None:
        """Remove what was only kept to repeat the steps."""
        ...


class Upload(Protocol):
    """A file that is being taken in. ``finish``, ``abort`` or, to go on later, ``pause`` ends it."""

    @property
    def size(self) -> int:
        """How many bytes came."""
        ...

    @property
    def note(self) -> bytes:
        """What was said of it when it began."""
        ...

    def write(self, *blocks: bytes) -> None:
        """Add bytes and hash them. ``Unavailable`` when the disk is full: nothing of them stays."""
        ...

    def reopen(self) -> int:
        """The size that the file on disk really has. Opens it again after ``pause``."""
        ...

    def stage(self, sha256: str | None = None) -> Staged:
        """It is complete. ``WrongDigest`` unless its content has this digest."""
        ...

    def finish(self, sha256: str | None = None) -> BlobRef:
        """Make it durable under the name of its content, by itself."""
        ...

    def secure(self) -> None:
        """From now on it can be resumed after a restart, if it has a name."""
        ...

    def pause(self) -> None:
        """Secure it and let go of the file; what came stays. ``write`` goes on with it."""
        ...

    def abort(self) -> None:
        """Leave nothing behind. Harmless after ``finish``."""
        ...


class BlobStore(Protocol):
    """Where blobs are kept. ``Invalid`` for what is no digest, ``NotFound`` for what is not there.

    A file is taken in and read again, from a store in the path ``folder``:

    >>> from fedops.storage.folder_blobs import FolderBlobs
    >>> store = FolderBlobs(folder)
    >>> upload = store.begin("from-pi", note=b"round 1")
    >>> upload.write(b"a model")
    >>> ref = upload.finish()
    >>> store.read(ref.sha256, 2, 5)
    b'model'

    One that broke off is gone on with, also by another process:

    >>> broken = store.begin("from-pi", note=b"round 2")
    >>> broken.write(b"another ")
    >>> broken.pause()
    >>> resumed = FolderBlobs(folder).resume("from-pi")
    >>> resumed.note, resumed.size
    (b'round 2', 8)
    >>> resumed.write(b"model")
    >>> resumed.finish().size
    13
    """

    def begin(self, name: str | None = None, note: bytes = b"") -> Upload:
        """Take in a file. With a name it can be resumed, and replaces an unfinished one of that name."""
        ...

    def resume(self, name: str) -> Upload:
        """Go on with an unfinished file; what is there is hashed again. ``NotFound`` when there is none."""
        ...

    def discard(self, name: str) -> None:
        """Remove an unfinished file. Not being there is no error."""
        ...

    def unfinished(self) -> list[str]:
        """The names of the files that can be resumed."""
        ...

    def adopt(self, path: Path, sha256: str | None = None) -> Staged:
        """Take over a file of this machine, which nobody may write to any more. It stays where it is."""
        ...

    def path(self, sha256: str) -> Path:
        """The file on this machine, which may be mapped. ``NotFound`` when it is not there."""
        ...

    def read(self, sha256: str, offset: int, size: int) -> bytes:
        """Exactly these bytes of it. ``Unavailable`` when it is shorter than that."""
        ...

    def size(self, sha256: str) -> int:
        """How many bytes it has. ``NotFound`` when it is not there."""
        ...

    def exists(self, sha256: str) -> bool:
        """Whether it is there."""
        ...

    def location(self, sha256: str, seconds: float) -> str | None:
        """A URL that gives the file to anybody for so long, where the store makes such."""
        ...

    def check(self, sha256: str) -> str | None:
        """Read it from its first to its last byte: what is wrong with it, or None."""
        ...

    def remove(self, sha256: str) -> None:
        """Forget a file. Not being there is no error."""
        ...

    def stored(self, older_than: float) -> Iterator[str]:
        """The digests of all files that were stored at least so many seconds ago."""
        ...

    def clean(self, older_than: float = UNFINISHED_SECONDS) -> None:
        """Remove unfinished files that nobody wrote to for so many seconds and that are not open here."""
        ...


def keep(staged: Staged) -> BlobRef:
    """Make a complete file durable by itself."""
    staged.sync()
    folder = staged.place()
    sync_folders({folder} if folder else set())
    staged.done()
    return staged.ref


MISSING = "its file is missing"


def damaged(found: str) -> str:
    """What is wrong with a file of that digest."""
    return f"its file is damaged: its sha256 is {found[:12]}..."


def ends_early(sha256: str, size: int) -> Unavailable:
    """A file that is shorter than it was."""
    return Unavailable(
        f"the blob {sha256} is damaged in the server's store: it ends at byte {size:,}; "
        "whoever has it must deliver it again"
    )


def is_digest(text: str) -> bool:
    """Whether it is a sha256 as it is written here."""
    return bool(_DIGEST.fullmatch(text))


def require_digest(sha256: str) -> str:
    """The text, when it is a sha256. ``Invalid`` else."""
    if not is_digest(sha256):
        raise Invalid(f"'{sha256[:80]}' is no sha256 (64 hex digits)")
    return sha256


def not_there(sha256: str) -> NotFound:
    return NotFound(f"there is no blob {sha256}")
