"""What light devices did, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """What the devices of a process did."""

    calls: int = 0
    polls: int = 0
    updates: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    cuts: int = 0
    models: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    #: What became of commits that devices were to run: of each how many they run, and how many failed.
    deployed: Counter[str] = field(default_factory=Counter)
    #: Calls beside polls that one update took: number of calls -> how often.
    calls_per_update: Counter[int] = field(default_factory=Counter)
    download_seconds: list[float] = field(default_factory=list)
    upload_seconds: list[float] = field(default_factory=list)
    slot_seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    #: Devices that have had an answer to a poll.
    present: set[str] = field(default_factory=set)

    def note(self, text: str) -> None:
        if len(self.problems) < 20:
            self.problems.append(text)

    def report(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**found, "present": len(self.present)}
