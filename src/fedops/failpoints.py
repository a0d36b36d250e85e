"""Named points in the code where a test can make the process that reaches them die, or wait.

They do nothing unless the variable ``FEDOPS_FAILPOINTS`` named a folder when the process started. In that
folder every pass through a point is counted, over all processes together: the file ``NAME`` grows by a
byte. The file ``NAME.armed`` says what happens at which pass: ``kill@2`` ends the second process to come by
at once (SIGKILL); ``hold@1`` makes the first one write ``NAME.held`` and wait until that file is removed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from fedops.platforms.processes import KILL

VARIABLE = "FEDOPS_FAILPOINTS"
#: A process held at a point goes on after so many seconds, whatever became of who held it.
HOLD_SECONDS = 30.0
_PAUSE_SECONDS = 0.01

_folder = os.environ.get(VARIABLE)


def reached(name: str) -> None:
    """This process is at the point ``name`` now."""
    if _folder:
        _pass(Path(_folder), name)


def _pass(folder: Path, name: str) -> None:
    number = _count(folder / name)
    try:
        action, _, wanted = (folder / f"{name}.armed").read_text().strip().partition("@")
    except OSError:
        return
    if int(wanted or 1) != number:
        return
    (folder / f"{name}.fired").write_text(f"{os.getpid()} {time.time()}\n")
    if action == "kill":
        os.kill(os.getpid(), KILL)
    elif action == "hold":
        _hold(folder / f"{name}.held")


def _count(path: Path) -> int:
    """Which pass this is, from 1. Two processes never get the same number."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b".")
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def _hold(path: Path) -> None:
    path.write_text(f"{os.getpid()}\n")
    deadline = time.monotonic() + HOLD_SECONDS
    while path.exists() and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)  # another process removes it: there is nothing to wait on
