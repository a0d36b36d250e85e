"""Which processes made up a federation: every one seen under it, named by what it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from fedops.demo.federation import Federation

#: What a word of the command line tells about the process. The first that fits counts.
_ROLES = (
    ("fedops.processes.tether", None),  # a tether
    ("fedops.flower.server_app", "FL server"),
    ("fedops.client.training.main", "training client"),
    ("multiprocessing", None),
)
#: From one look to the next, as a multiple of what a look takes.
_REST = 10.0
_ROOTS = {"server": "Server Manager"}


@dataclass
class ProcessList:
    """Processes by id; those that ended stay listed."""

    seen: dict[int, str] = field(default_factory=dict)
    _next: float = 0.0

    def take(self, federation: Federation) -> None:
        """Note every process of the federation that runs now.

        With many devices that is much to read: no more than a part of the time goes into it.
        """
        began = time.monotonic()
        if began >= self._next:
            self._read(federation)
            self._next = began + _REST * (time.monotonic() - began)

    def _read(self, federation: Federation) -> None:
        for part in federation.parts.values():
            root = part.root()
            if root is None:
                continue
            self.seen.setdefault(root.pid, _ROOTS.get(part.name, f"Client Manager {part.name}"))
            for process, role in _known(root):
                shown = f"{role} {part.name}" if role == "training client" else role
                self.seen.setdefault(process.pid, shown)

    def rows(self) -> list[dict[str, Any]]:
        """In the order they were seen."""
        return [{"name": name, "pid": pid} for pid, name in self.seen.items()]


def _known(root: psutil.Process) -> Iterator[tuple[psutil.Process, str]]:
    with contextlib.suppress(psutil.Error):
        for process in root.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                role = _role(process.cmdline())
                if role is not None:
                    yield process, role


def _role(command: list[str]) -> str | None:
    # Only the words before the first option's value: a path later on may hold any word.
    head = " ".join(command[:4])
    return next((role for word, role in _ROLES if word in head), None)
