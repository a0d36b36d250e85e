"""What keeps a server, a backup and a restore of the same folder out of each other's way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedops.core.errors import Conflict
from fedops.processes.lock import hold_lock

_NAME = "backup.lock"
#: There while a restore moves files: a server must not begin on half of them.
UNFINISHED = "restore.unfinished"


@contextmanager
def no_removals(home: Path) -> Iterator[None]:
    """Keep a running server from removing files; the lock ends with whoever holds it.

    ``Conflict`` when another backup is at it.
    """
    with hold_lock(home / _NAME, "a backup"):
        yield


@contextmanager
def backup_pause(home: Path) -> Iterator[bool]:
    """Whether files may be removed now; while this is entered, no backup begins."""
    try:
        held = hold_lock(home / _NAME, "a backup")
    except Conflict:
        yield False
        return
    with held:
        yield True


def require_finished(home: Path) -> None:
    """``Conflict`` when a restore of this folder was interrupted."""
    if (home / UNFINISHED).exists():
        raise Conflict(
            f"bringing a backup back to {home} was interrupted: "
            "repeat 'fedops server restore FILE' with the same file"
        )
