"""When the last backup of a server's folder was made: a note beside the data, for those who look after it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fedops.storage.atomic_files import atomic_file

#: In the server's folder.
NOTE = "last-backup.json"
_LARGEST = 1_000


@dataclass(frozen=True)
class LastBackup:
    """When it was made (POSIX seconds), and its size in bytes."""

    at: float
    size: int


def note_backup(home: Path, size: int) -> None:
    """A backup was made now."""
    with atomic_file(home / NOTE) as file:
        file.write(json.dumps(asdict(LastBackup(time.time(), size))).encode())


def last_backup(home: Path) -> LastBackup | None:
    """None: none was made by this program of the data that is here, or the note cannot be read."""
    try:
        with (home / NOTE).open("rb") as file:
            found = json.loads(file.read(_LARGEST))
        return LastBackup(float(found["at"]), int(found["size"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
