"""What a disk may answer, when it was last found full, and making the names in a folder durable."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedops.core.errors import Unavailable
from fedops.platforms.files import sync_path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: A disk that was found full is taken to be so for a while: who failed tries again sooner. Seconds.
_REMEMBERED_SECONDS = 15.0


class FullDisk:
    """Where this process last found a disk full. May be used by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[float, str] | None = None

    def note(self, where: str) -> None:
        """Something could not be written there."""
        self._last = (self._clock(), where)

    @property
    def where(self) -> str | None:
        """Which one is full, as far as it was seen not long ago."""
        last = self._last
        recent = last is not None and self._clock() - last[0] < _REMEMBERED_SECONDS
        return last[1] if last and recent else None


#: Of everything that this process writes.
full_disk = FullDisk()


def is_full(error: OSError) -> bool:
    """Whether there is no room for what was to be written."""
    return error.errno in _FULL


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Errors of the server's disk as ``Unavailable``."""
    try:
        yield
    except OSError as error:
        what = f"cannot write: {error.strerror}"
        if is_full(error):
            full_disk.note(str(where))
            what = "the server's disk is full"
        raise Unavailable(f"{what} ({where}); free some space and repeat") from error


def sync_folders(folders: Iterable[Path]) -> None:
    """Names in these folders that were made or changed are durable afterwards."""
    for folder in folders:
        sync_path(folder)


def sync_files(paths: Sequence[Path]) -> None:
    """These files and their names are durable afterwards. ``OSError``: one of them is not there."""
    for path in paths:
        sync_path(path)
    sync_folders({path.parent for path in paths})
