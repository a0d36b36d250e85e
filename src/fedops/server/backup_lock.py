"""While a backup copies files, none is removed: a lock file that ends with whoever holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedops.core.errors import Conflict
from fedops.processes import hold_lock

_NAME = "backup.lock"


@contextmanager
def no_removals(home: Path) -> Iterator[None]:
    """Keep a running server from removing files. ``Conflict`` when another backup is at it."""
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
