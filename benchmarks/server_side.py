"""What the server's processes use, all of them together, read from ``/proc``."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
from common import Background

from fedops.demo.federation import Federation

MB = 1e6
#: How often the process tree is looked up; what is in it is read at each sample. Seconds.
_TREE_SECONDS = 1.0


def server_root(federation: Federation) -> psutil.Process:
    """The Server Manager's process."""
    root = federation.parts["server"].root()
    if root is None:
        raise SystemExit("the server is gone")
    return root


@dataclass(frozen=True)
class Memory:
    """Bytes. ``files``: mapped pages of files, which the kernel may take back at any time.

    ``proportional``: resident, with what several processes share (the Python program) counted once.
    """

    resident: int = 0
    anonymous: int = 0
    files: int = 0
    proportional: int = 0


class ProcessTree:
    """A process and all that it started."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._seconds: dict[tuple[int, float], float] = {}

    def processes(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []

    def cpu(self) -> float:
        """CPU seconds so far; those of children that have ended meanwhile stay counted."""
        for process in self.processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                self._seconds[process.pid, process.create_time()] = times.user + times.system
        return sum(self._seconds.values())

    def commands(self) -> list[str]:
        """What runs, for a report."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                found.append(" ".join(process.cmdline()[:4]))
        return found


def memory_of(pids: list[int]) -> Memory:
    """Together, of those that are still there."""
    resident = anonymous = files = 0
    for pid in pids:
        with suppress(OSError):
            rows = dict(_kilobytes(Path(f"/proc/{pid}/status").read_text()))
            resident += rows.get("VmRSS", 0)
            anonymous += rows.get("RssAnon", 0)
            files += rows.get("RssFile", 0)
    return Memory(1024 * resident, 1024 * anonymous, 1024 * files)


def proportional(pids: list[int]) -> int:
    """Bytes, shared pages counted once. Costs the processes a moment each."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            rows = dict(_kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text()))
            total += rows.get("Pss", 0)
    return 1024 * total


def _kilobytes(status: str) -> list[tuple[str, int]]:
    rows = [line.split() for line in status.splitlines()]
    return [(row[0].rstrip(":"), int(row[1])) for row in rows if len(row) == 3 and row[2] == "kB"]


class MemoryMeter(Background):
    """The memory of a process tree, sampled while the block lasts."""

    def __init__(self, tree: ProcessTree, every: float = 0.02) -> None:
        super().__init__()
        self._tree, self._every = tree, every
        self.samples: list[Memory] = []

    def _run(self) -> None:
        pids: list[int] = []
        looked, shared = float("-inf"), 0
        while not self._over.wait(self._every):
            if time.monotonic() - looked > _TREE_SECONDS:
                pids, looked = [one.pid for one in self._tree.processes()], time.monotonic()
                shared = proportional(pids)
            self.samples.append(replace(memory_of(pids), proportional=shared))

    def most(self, of: Callable[[Memory], int]) -> int:
        return max(map(of, self.samples), default=0)


class CostMeter(Background):
    """CPU seconds of a process tree over time, to read off what was spent between two moments."""

    def __init__(self, tree: ProcessTree, every: float = 0.05) -> None:
        super().__init__()
        self._tree, self._every = tree, every
        self._times: list[float] = []
        self._seconds: list[float] = []

    def _run(self) -> None:
        while not self._over.wait(self._every):
            seconds = self._tree.cpu()
            self._times.append(time.time())
            self._seconds.append(seconds)

    def between(self, begin: float, end: float) -> float:
        """CPU seconds from one moment to another, both as ``time.time()``."""
        first, last = np.interp([begin, end], self._times, self._seconds)
        return float(last - first)
