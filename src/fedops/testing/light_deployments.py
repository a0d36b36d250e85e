"""What a device says of the commits that it is to run, decided by hand: nothing is fetched or built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: ``good`` and ``bad``: it was tried. ``stalled``: it does not get on. ``slow``: it gets ready for ever.
Fate = Literal["good", "bad", "stalled", "slow"]


def always_good(commit: str) -> Fate:
    """Whatever comes works."""
    return "good"


@dataclass
class LightDeployment:
    """The deployment of one task on one device. Documents are as the protocol has them.

    ``fate`` tells what becomes of a commit. A commit is tried once in each attempt, and not while the server
    says to hold.
    """

    task: str
    fate: Callable[[str], Fate] = always_good
    #: Added to each report of a commit that was tried: metrics and the like.
    says: Callable[[str], Mapping[str, Any]] = lambda commit: {}
    active: str | None = None
    #: What it was asked for last, as the server wrote it.
    wanted: Mapping[str, Any] = field(default_factory=dict)
    _tried: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    _now: dict[str, Any] = field(default_factory=dict)

    @property
    def report(self) -> dict[str, Any]:
        """What the next poll says of it."""
        return {"task": self.task, "active": self.active, **self._now}

    def is_new(self, deployments: Iterable[Mapping[str, Any]]) -> bool:
        """Whether something is to be fetched that was not fetched before."""
        found = self._of_task(deployments)
        return found is not None and (found["commit"], found["attempt"]) not in self._tried

    def hear(self, deployments: Iterable[Mapping[str, Any]]) -> bool:
        """Do what is wanted. Whether there is anything new to say."""
        found, before = self._of_task(deployments), self.report
        if found is None:
            return False
        self.wanted = found
        key = (found["commit"], found["attempt"])
        self._now = {"commit": key[0], "attempt": key[1]}
        if key in self._tried:
            self._now |= self._tried[key]
        elif found["hold"]:
            self._now |= {"status": "waiting", "reason": found["hold"]}
        else:
            self._try(key)
        if self._now["status"] == "active":
            self.active = key[0]
        return self.report != before

    def _of_task(self, deployments: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        return next((one for one in deployments if one["task"] == self.task), None)

    def _try(self, key: tuple[str, int]) -> None:
        match self.fate(key[0]):
            case "good":
                said = {"status": "active", **self.says(key[0])}
            case "bad":
                said = {"status": "rolled_back", "reason": "ModuleNotFoundError: no module 'x'"}
            case "stalled":
                said = {"status": "fetching", "stalled": True, "reason": "its disk is full"}
            case _:
                said = {"status": "preparing"}
        self._now |= said
        if said["status"] in ("active", "rolled_back"):
            self._tried[key] = said
