"""What a machine can run short of: by which error it shows, and what to say and do about it."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum


class Lack(StrEnum):
    """What there is no more of."""

    DISK = "disk"
    INODES = "inodes"
    QUOTA = "quota"
    WRITABLE_DISK = "writable disk"
    PERMISSION = "permission"
    SOUND_DISK = "sound disk"
    OPEN_FILES = "open files"
    OPEN_FILES_OF_MACHINE = "open files of the machine"
    PROCESSES = "processes"
    MEMORY = "memory"
    DATABASE = "database"
    CONNECTIONS = "connections"


@dataclass(frozen=True)
class Shortage:
    """Something that is missing in a place."""

    lack: Lack
    #: The folder, file or database.
    where: str
    #: Whether because of it nothing is noted in the database, not even who calls.
    stops_writing: bool = False

    def named(self, whose: str = "the server") -> str:
        """``the server's disk is full (/var/fedops)``."""
        place = f" ({self.where})" if self.where else ""
        return self.short(whose) + place

    def short(self, whose: str = "the server") -> str:
        """Without the place, for those who need not know it."""
        return _WORDS[self.lack][0].format(whose)

    @property
    def remedy(self) -> str:
        """``free some space``."""
        return _WORDS[self.lack][1]

    def text(self, whose: str = "the server") -> str:
        """``the server's disk is full (/var/fedops): free some space, and it goes on``."""
        return f"{self.named(whose)}: {self.remedy}, and it goes on"


_WORDS = {
    Lack.DISK: ("{}'s disk is full", "free some space"),
    Lack.INODES: ("{}'s disk has no inodes left for another file", "remove some files"),
    Lack.QUOTA: ("{}'s disk quota is used up", "free some space or raise the quota"),
    Lack.WRITABLE_DISK: (
        "{}'s disk is read-only",
        "make it writable again (dmesg says why it is not)",
    ),
    Lack.PERMISSION: ("{} may not write to its folder", "let its user write there (chown, chmod)"),
    Lack.SOUND_DISK: ("{}'s disk fails", "look into dmesg, and replace it"),
    Lack.OPEN_FILES: (
        "{} has too many files and connections open",
        "start it again with a higher limit (ulimit -n, LimitNOFILE= of a service)",
    ),
    Lack.OPEN_FILES_OF_MACHINE: (
        "the machine of {} has too many files open",
        "end other programs there or raise fs.file-max",
    ),
    Lack.PROCESSES: (
        "{} may start no more threads or processes",
        "end other programs there or raise the limit (ulimit -u, TasksMax= of a service)",
    ),
    Lack.MEMORY: ("{} has no memory left", "end other programs there or give it more memory"),
    Lack.DATABASE: (
        "{}'s database is locked by another program",
        "end what holds it (fuser or lsof name it)",
    ),
    Lack.CONNECTIONS: (
        "{}'s database takes no more connections",
        "raise its max_connections or end other programs that use it",
    ),
}


def is_of_device(why: str) -> bool:
    """Whether a device said of itself that it lacks something."""
    return why.startswith(tuple(words.format("the device") for words, _ in _WORDS.values()))


_BY_NUMBER = {
    errno.ENOSPC: Lack.DISK,
    errno.EFBIG: Lack.DISK,
    errno.EDQUOT: Lack.QUOTA,
    errno.EROFS: Lack.WRITABLE_DISK,
    errno.EACCES: Lack.PERMISSION,
    errno.EPERM: Lack.PERMISSION,
    errno.EIO: Lack.SOUND_DISK,
    errno.EMFILE: Lack.OPEN_FILES,
    errno.ENFILE: Lack.OPEN_FILES_OF_MACHINE,
    errno.ENOMEM: Lack.MEMORY,
}


def lack_of(error: BaseException) -> Lack | None:
    """What an error says is missing. None: it is about something else."""
    if isinstance(error, MemoryError):
        return Lack.MEMORY
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return Lack.PROCESSES
    return _BY_NUMBER.get(error.errno or 0) if isinstance(error, OSError) else None


#: Of PostgreSQL, by the SQLSTATE of its errors.
_BY_STATE = {
    "53100": Lack.DISK,
    "53200": Lack.MEMORY,
    "53300": Lack.CONNECTIONS,
    "25006": Lack.WRITABLE_DISK,
    "58030": Lack.SOUND_DISK,
    "55P03": Lack.DATABASE,
}


def lack_of_postgresql(state: str | None) -> Lack | None:
    """What PostgreSQL says is missing, by the SQLSTATE of its error."""
    return _BY_STATE.get(state or "")
