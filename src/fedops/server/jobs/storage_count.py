"""How much the server keeps, counted beside the requests, and only as long as somebody asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedops.server.database import stored_sizes
from fedops.server.database.database import Database
from fedops.server.database.stored_sizes import StoredKind
from fedops.server.jobs.periodic import PeriodicJob

#: A count is good for so long; it is made again when somebody asks for it later. Seconds.
FRESH_SECONDS, STEP_SECONDS = 300.0, 3_600.0
#: So many files of the server's folder are looked at.
_MOST_FILES = 200_000


@dataclass(frozen=True)
class FolderSize:
    """A folder within the server's folder. ``whole``: all of its files were counted."""

    name: str
    files: int
    size: int
    whole: bool


@dataclass(frozen=True)
class Stored:
    """What was counted, and when (POSIX seconds)."""

    at: float
    kinds: list[StoredKind]
    folders: list[FolderSize]


class StorageCount:
    """The newest count; ``None`` until there is one. Thread-safe."""

    def __init__(self, db: Database, home: Path, clock: Callable[[], float]) -> None:
        self._db = db
        self._home = home
        self._clock = clock
        self._latest: Stored | None = None
        self._asked = False
        self.worker = PeriodicJob("storage", self._count_if_asked, STEP_SECONDS)

    def latest(self) -> Stored | None:
        """The newest count. An old one is made anew, in the background."""
        found = self._latest
        if found is None or self._clock() - found.at > FRESH_SECONDS:
            self._asked = True
            self.worker.wake()
        return found

    def _count_if_asked(self) -> None:
        if self._asked:
            self._asked = False
            self.count()

    def count(self) -> None:
        """Count now. Called by the worker, or by a test."""
        kinds = stored_sizes.count_stored(self._db)
        self._latest = Stored(self._clock(), kinds, list(folder_sizes(self._home)))


def folder_sizes(home: Path) -> Iterator[FolderSize]:
    """The folders of the server's folder by name, as far as they are the server's own."""
    left = _MOST_FILES
    for folder in sorted(one for one in home.iterdir() if one.is_dir() and not one.is_symlink()):
        files = size = 0
        for found in _files_of(folder):
            if left == 0:
                break
            left -= 1
            files, size = files + 1, size + found
        yield FolderSize(folder.name, files, size, left > 0)


def _files_of(folder: Path) -> Iterator[int]:
    """The size of each file; what goes meanwhile is left out."""
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(path, name)).st_size
            except OSError:
                continue
