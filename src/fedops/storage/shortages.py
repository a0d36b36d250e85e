"""What this machine runs short of: found out where it happens, and remembered for who asks why."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedops.core.reasons.shortages import Lack, Shortage, lack_of
from fedops.platforms.files import has_no_inodes

#: What was missing is taken to be so for a while: who failed tries again sooner. Seconds.
_REMEMBERED_SECONDS = 15.0
#: On a full disk what is small, or changes nothing, goes well still. Seconds.
_SETTLED_SECONDS = 3.0
#: What SQLite or a small file needs at least. Bytes.
_LEAST = 4_096


class Shortages:
    """What this process met not long ago, by place. May be used by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Of each place: since when, when last, and what.
        self._met: dict[str, tuple[float, float, Shortage]] = {}
        #: What is waited for, and since when.
        self._awaited: dict[object, tuple[float, Shortage]] = {}

    def note(self, shortage: Shortage, since: float | None = None) -> None:
        """Something failed because of it, now."""
        now = self._clock()
        before = self._recent(self._met.get(shortage.where))
        begun = now if since is None else since
        self._met[shortage.where] = (before[0] if before else begun, now, shortage)

    @contextmanager
    def awaiting(self, shortage: Shortage) -> Iterator[None]:
        """While this is entered, something is waited for: if that lasts, it is what is missing."""
        mine, begun = object(), self._clock()
        self._awaited[mine] = (begun, shortage)
        try:
            yield
        except Exception:
            if self._clock() - begun > _SETTLED_SECONDS:
                self.note(shortage, begun)
            raise
        finally:
            self._awaited.pop(mine, None)

    def mended(self, where: str) -> None:
        """There it went well. It is over when nothing has failed beside it for a moment."""
        met = self._met.get(where)
        if met is not None and self._clock() - met[1] > _SETTLED_SECONDS:
            self._met.pop(where, None)

    def forget(self) -> None:
        """All of them."""
        self._met = {}

    @property
    def current(self) -> Shortage | None:
        """The one that was met last, if that is not long ago."""
        found = self._now_met()
        return max(found, key=lambda met: met[1])[2] if found else None

    @property
    def unwritten_seconds(self) -> float:
        """For how long nothing could be noted in the database; 0 when it can."""
        since = [met[0] for met in self._now_met() if met[2].stops_writing]
        return self._clock() - min(since) if since else 0.0

    def _now_met(self) -> list[tuple[float, float, Shortage]]:
        now = self._clock()
        lasting = [
            (since, now, shortage)
            for since, shortage in list(self._awaited.values())
            if now - since > _SETTLED_SECONDS
        ]
        return [*lasting, *(met for met in list(self._met.values()) if self._recent(met))]

    def _recent(
        self, met: tuple[float, float, Shortage] | None
    ) -> tuple[float, float, Shortage] | None:
        recent = met is not None and self._clock() - met[1] < _REMEMBERED_SECONDS
        return met if recent else None


#: Of everything that this process does.
shortages = Shortages()


def shortage_of(error: BaseException, where: Path | str) -> Shortage | None:
    """What an error that was met there says is missing. None: it is about something else."""
    lack = lack_of(error)
    if lack is Lack.DISK and has_no_inodes(Path(where)):
        lack = Lack.INODES
    return Shortage(lack, str(where)) if lack else None


def why_not_written(error: OSError, where: Path | str, whose: str = "the device") -> str:
    """``the device's disk is full (/home/pi/x): free some space``, or what else the error says."""
    shortage = shortage_of(error, error.filename or where)
    if shortage is None:
        return f"cannot write {where}: {error.strerror or error}"
    return f"{shortage.named(whose)}: {shortage.remedy}"


def shortage_of_sqlite(error: sqlite3.Error, file: Path) -> Shortage | None:
    """What keeps SQLite from its work. It says little itself, so its folder is tried."""
    name = getattr(error, "sqlite_errorname", None) or ""
    lack: Lack | None = None
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        lack = Lack.DATABASE
    elif name == "SQLITE_FULL":
        lack = Lack.INODES if has_no_inodes(file) else Lack.DISK
    elif "NOMEM" in name:
        lack = Lack.MEMORY
    elif name.startswith("SQLITE_READONLY"):
        tried = try_folder(file.parent, _size_of(file))
        lack = tried.lack if tried else Lack.PERMISSION
    elif name.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR")):
        tried = try_folder(file.parent, _size_of(file))
        failing = Lack.SOUND_DISK if name.startswith("SQLITE_IOERR") else None
        lack = tried.lack if tried else failing
    return Shortage(lack, str(file), stops_writing=True) if lack else None


def try_folder(folder: Path, size: int = 0) -> Shortage | None:
    """What keeps this process from writing a small file there, or at ``size``. Nothing stays of it."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(size)  # takes no room, but may be more than a file is allowed to have
            file.seek(size)
            file.write(bytes(_LEAST))
            file.flush()
    except (OSError, MemoryError) as error:
        return shortage_of(error, folder)
    return None


def _size_of(database: Path) -> int:
    """Of the larger of its files."""
    files = (database, database.with_name(database.name + "-wal"))
    return max((file.stat().st_size for file in files if file.exists()), default=0)
