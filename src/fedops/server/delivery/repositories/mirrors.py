"""The mirrors of all tasks. Each is used by one at a time."""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from fedops.server.delivery.repositories.git_command import GitAccess
from fedops.server.delivery.repositories.git_mirror import GitMirror


class Mirrors:
    """Thread-safe."""

    def __init__(self, access: GitAccess) -> None:
        self.access = access
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def of_task(self, task: str) -> Iterator[GitMirror]:
        """The mirror of a task, for this thread alone."""
        with self._locks[task]:
            yield GitMirror.of_task(self.access, task)

    def tidy(self, needed: Collection[str]) -> None:
        """Remove the mirrors of tasks that have no source any more."""
        for folder in (self.access.home / "mirrors").glob("*.git"):
            task = folder.name.removesuffix(".git")
            if task not in needed:
                with self._locks[task]:
                    shutil.rmtree(folder, ignore_errors=True)
