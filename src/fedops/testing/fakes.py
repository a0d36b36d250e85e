"""Fakes of what tests cannot wait for or start."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedops.core.contracts import EngineTicket
from fedops.core.errors import Unavailable


@dataclass
class FakeClock:
    """A clock that moves when it is told to."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class FakeEngines:
    """``EngineProcesses`` without processes: tests end them by hand."""

    #: Attempt id -> ticket, of those that live.
    running: dict[int, EngineTicket] = field(default_factory=dict)
    #: Attempt id -> how it ended.
    ended: dict[int, str] = field(default_factory=dict)
    words: dict[int, str] = field(default_factory=dict)
    #: Those that do not end when they are asked to: only ``at_once`` helps.
    stubborn: set[int] = field(default_factory=set)
    #: Refuse to start, as a machine without memory does.
    broken: str = ""
    #: What they find wrong with any app, and the configs that they were asked about.
    problem: str | None = ""
    examined: list[Mapping[str, Any]] = field(default_factory=list)
    #: Of each that was examined: whether all but its strategy was known to be right.
    only_strategy: list[bool] = field(default_factory=list)
    _pids: itertools.count[int] = field(default_factory=lambda: itertools.count(4711))

    def clean(self) -> None:
        self.close()

    def start(self, ticket: EngineTicket) -> int:
        if self.broken:
            raise Unavailable(self.broken)
        self.running[ticket.attempt_id] = ticket
        return next(self._pids)

    def how_ended(self, attempt_id: int) -> str | None:
        if attempt_id in self.running:
            return None
        return self.ended.get(attempt_id, "it is no child of this Server Manager")

    def last_words(self, attempt_id: int) -> str:
        return self.words.get(attempt_id, "")

    def end(self, attempt_id: int, *, at_once: bool = False) -> None:
        if at_once or attempt_id not in self.stubborn:
            self.die(attempt_id, "killed by signal 9" if at_once else "exit code 0")

    def forget(self, attempt_id: int) -> None:
        self.ended.pop(attempt_id, None)

    def examine(
        self, app_dir: Path, config: Mapping[str, Any], seconds: float, *, only_strategy: bool
    ) -> str | None:
        assert (app_dir / "pyproject.toml").is_file()
        self.examined.append(config)
        self.only_strategy.append(only_strategy)
        return self.problem

    def close(self) -> None:
        self.running.clear()

    def why(self) -> str:
        return self.broken or f"{len(self.running)} FL servers run"

    # --- what tests do to it ---------------------------------------------------------------------

    def die(self, attempt_id: int, how: str = "exit code 1") -> None:
        """The process ends."""
        if self.running.pop(attempt_id, None) is not None:
            self.ended[attempt_id] = how
