"""Temporary folders of a process, which the next one removes where theirs was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from fedops.platforms.files import is_ours


@contextmanager
def own_folder(what: str) -> Iterator[Path]:
    """A folder ``fedops-WHAT-PID-...``, for as long as the block takes.

    What processes of this user have left of the same kind, because they were killed, is removed first.

    Raises:
        OSError: the disk has no room.
    """
    _sweep(f"fedops-{what}-")
    folder = Path(tempfile.mkdtemp(prefix=f"fedops-{what}-{os.getpid()}-")).resolve()
    try:
        yield folder
    finally:
        _remove(folder)


def _sweep(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*-*"):
        owner = folder.name.removeprefix(prefix).partition("-")[0]
        with contextlib.suppress(OSError):
            mine = stat.S_ISDIR(folder.lstat().st_mode) and is_ours(folder)
            if owner.isdigit() and not psutil.pid_exists(int(owner)) and mine:
                _remove(folder)


def _remove(folder: Path) -> None:
    """Also what was made unwritable; links are removed, never what they lead to."""

    def again(function: object, path: str, _: object) -> None:
        try:
            os.chmod(os.path.dirname(path), 0o700)
            os.unlink(path)
        except OSError:
            pass

    shutil.rmtree(folder, onerror=again)
