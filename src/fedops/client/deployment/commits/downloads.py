"""The files of a commit on their way here: from the last byte that is here, checked, bounded."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

from fedops.client.work.reachability import Over, Reachability
from fedops.core.contracts import BlobRef, WheelRef
from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.core.reasons.stages import percent, size_text
from fedops.storage.atomic_files import sha256_of
from fedops.storage.disk import is_full
from fedops.storage.shortages import why_not_written

logger = logging.getLogger("fedops.client")

#: No file of a deployment is larger. Bytes.
MOST_BYTES = 8 << 30
_DAMAGED_TIMES = 3
#: A disk keeps a little for everybody else. Bytes.
_SPARE_BYTES = 16 << 20

#: Told in words how far it is, or what it waits for.
Tell = Callable[[str], None]


class NoRoom(Exception):
    """The device's disk has no room for something that is needed. The text says for how much."""


class Coming(Protocol):
    """A file on its way: ``api_client.blobs.Part``."""

    @property
    def start(self) -> int: ...

    def blocks(self) -> Iterator[bytes]: ...


class BlobSource(Protocol):
    """Where files come from: ``api_client.BlobClient``."""

    def download(
        self, sha256: str, *, start: int = 0, fresh: bool = False
    ) -> AbstractContextManager[Coming]: ...


class Downloads:
    """Fetches one file at a time."""

    def __init__(self, blobs: BlobSource, reach: Reachability) -> None:
        self._blobs = blobs
        self._reach = reach

    def fetch(
        self, ref: BlobRef | WheelRef, target: Path, over: Callable[[], bool], tell: Tell
    ) -> None:
        """Have all of it in ``target``, however long the server is away.

        Raises:
            Over: it is not wanted any more.
            NoRoom: the disk is full. What came so far is kept.
            Invalid: it is too large, or arrived damaged again and again.
            FedOpsError: the server does not give it.
        """
        if ref.size > MOST_BYTES:
            raise Invalid(f"the file {ref.sha256[:12]} has {size_text(ref.size)}: too much for us")
        if target.exists():
            if sha256_of(target) == ref.sha256:
                return
            target.unlink()  # a power cut left its name, and not all of its bytes
        part = target.with_name(f"{target.name}.part")
        for number in range(_DAMAGED_TIMES):
            call = partial(self._download, ref, part, over, tell, number > 0)
            self._reach.insist(call, over, lambda error: tell(error.message))
            if sha256_of(part) == ref.sha256:
                part.replace(target)
                return
            logger.warning("the file %s arrived damaged: it is fetched again", ref.sha256[:12])
            part.unlink()
        raise Invalid(f"the file {ref.sha256[:12]} arrived damaged {_DAMAGED_TIMES} times")

    def _download(
        self,
        ref: BlobRef | WheelRef,
        part: Path,
        over: Callable[[], bool],
        tell: Tell,
        fresh: bool,
    ) -> None:
        """Get what is missing of it, once."""
        start = part.stat().st_size if part.exists() else 0
        if start > ref.size:
            part.unlink()
            start = 0
        require_room(part.parent, ref.size - start)
        if start == ref.size and part.exists():
            return
        done = self._append(ref, part, start, over, tell, fresh)
        if done < ref.size:
            raise Unavailable(f"the connection was cut after {done} of {ref.size} bytes")

    def _append(
        self,
        ref: BlobRef | WheelRef,
        part: Path,
        start: int,
        over: Callable[[], bool],
        tell: Tell,
        fresh: bool,
    ) -> int:
        """Returns how many bytes are here."""
        try:
            with (
                self._blobs.download(ref.sha256, start=start, fresh=fresh) as coming,
                part.open("ab") as file,
            ):
                done = coming.start
                file.truncate(done)
                for block in coming.blocks():
                    if over():
                        raise Over
                    file.write(block[: ref.size - done])
                    done = min(done + len(block), ref.size)
                    tell(f"{percent(done, ref.size)} of {size_text(ref.size)}")
                return done
        except OSError as error:
            raise no_room(error, part, ref.size) from None


def require_room(folder: Path, needed: int) -> None:
    """``NoRoom`` when the disk has fewer bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES * (needed > 0):
        raise NoRoom(
            f"the device's disk has {size_text(free)} free ({folder}), and {size_text(needed)} are needed:"
            " free some space, and it goes on"
        )


def no_room(error: OSError, where: Path, needed: int) -> Exception:
    """What an error of the disk is: for want of room, which may pass, or another."""
    if is_full(error):
        return NoRoom(f"{why_not_written(error, where)}: {size_text(needed)} are needed")
    return FedOpsError(why_not_written(error, where))
