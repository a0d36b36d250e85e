"""Files that say who runs: pid files of children, and locks of what is there once."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO

import psutil

from fedops.core.errors import Conflict
from fedops.platforms.files import lock_file
from fedops.processes.process_tree import end_tree, find_process


def write_pid_file(path: Path, pid: int) -> None:
    """Note a child, with its start time: a process id alone may be another program's by then."""
    process = find_process(pid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{pid} {process.create_time() if process else 0.0!r}\n")


def end_leftover(path: Path, grace: float = 0.5) -> bool:
    """End the process that a pid file of a former life notes, if it still runs. Removes the file."""
    process = _noted(path)
    path.unlink(missing_ok=True)
    if process is None:
        return False
    end_tree(process.pid, grace)
    return True


def _noted(path: Path) -> psutil.Process | None:
    try:
        pid, created = path.read_text().split()
        process = psutil.Process(int(pid))
        return process if abs(process.create_time() - float(created)) < 0.05 else None
    except (OSError, ValueError, psutil.Error):
        return None


def hold_lock(path: Path, what: str) -> IO[str]:
    """Lock a file until the handle returned is closed, or this process ends however it does.

    Raises:
        Conflict: another process holds it; ``what`` names it in the message.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        lock_file(file)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise Conflict(
            f"{what} is already running on {path.parent} (process {holder}); "
            "stop it first, or give this one another directory with --home"
        ) from None
    with contextlib.suppress(OSError):  # on a full disk the lock holds, it only names nobody
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"{os.getpid()}\n".encode())
    return file
