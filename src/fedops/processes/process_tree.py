"""Whole process trees: who belongs to one, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable

import psutil

from fedops.platforms.processes import KILL, await_exit
from fedops.waiting import Timeout

#: Names a whole process tree: inherited by every descendant, whatever session or parent it ends up in.
TREE_VARIABLE = "FEDOPS_TREE"


def end_tree(pid: int, grace: float = 5.0) -> None:
    """SIGTERM to a process, SIGKILL after ``grace`` seconds to it and to whatever it started.

    Does not reap: the exit code stays for whoever waits on the ``Popen``. No such process is no error.
    """
    root = find_process(pid)
    if root is not None:
        _end([root, *descendants(root)], grace, lambda: descendants(root))


def end_named_tree(tree: str, grace: float = 5.0) -> int:
    """End every process of this user that carries the tree's name; returns how many there were."""
    found = carrying(tree)
    _end(found, grace, lambda: carrying(tree))
    return len(found)


def _end(
    processes: list[psutil.Process], grace: float, more: Callable[[], list[psutil.Process]]
) -> None:
    signal_all(processes[:1], signal.SIGTERM)
    left = _wait_gone(processes[:1], grace)
    # A root that ended in time may have left descendants, and new ones may have appeared.
    left = [*left, *(p for p in [*processes[1:], *more()] if _alive(p))]
    signal_all(left, KILL)
    _wait_gone(left, 5.0)


def find_process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def carrying(tree: str) -> list[psutil.Process]:
    me, found = os.getpid(), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != me and process.environ().get(TREE_VARIABLE) == tree:
                found.append(process)
    return found


def signal_all(processes: Iterable[psutil.Process], signal_number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.send_signal(signal_number)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _wait_gone(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until all have ended (zombies count as ended); returns those that have not."""
    timeout = Timeout(seconds)
    return [process for process in processes if not _has_ended(process, timeout)]


def _has_ended(process: psutil.Process, timeout: Timeout) -> bool:
    while _alive(process) and not timeout.is_over:
        await_exit(process.pid, timeout.seconds_left)
    return not _alive(process)
