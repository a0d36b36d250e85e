"""How far a device is with its deployment, on disk: it outlives the Client Manager and power cuts."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import Field, ValidationError

from fedops.client.deployment.commits.places import CommitPlace
from fedops.core.contracts import CommitChanges, DesiredDeployment
from fedops.core.contracts.base import Report
from fedops.core.states import DeploymentStatus
from fedops.storage.atomic_files import write_atomic

#: A trial or a switch that was cut short is begun again, unless the commit itself may be what does it.
MOST_TRIALS = 4
_REMEMBERED = 50


class DeploymentState(Report):
    """Of one task."""

    #: The commit that it is at, or was at last, and which try of it.
    commit: str | None = None
    attempt: int = 0
    status: DeploymentStatus = DeploymentStatus.WAITING
    reason: str = ""
    stalled: bool = False
    #: Since when it is so, in POSIX seconds by this device's clock.
    since: float = 0.0
    #: What runs, and what ran before it.
    active: str | None = None
    previous: str | None = None
    #: What was switched to and has not said yet that it is ready.
    trying: str | None = None
    #: How often the trial of this commit was begun in this attempt, and whether it went well.
    trials: int = 0
    passed: bool = False
    #: The commits that the owner of the device allowed, the newest last.
    approved: list[str] = Field(default_factory=list)
    #: Of the newest model under the commit at hand, and under the one that runs.
    metrics: dict[str, float] = Field(default_factory=dict)
    before: dict[str, float] = Field(default_factory=dict)

    def begun(self, wish: DesiredDeployment) -> DeploymentState:
        """The state when another commit, or another try of one, is wanted."""
        return DeploymentState(
            commit=wish.commit,
            attempt=wish.attempt,
            since=time.time(),
            active=self.active,
            previous=self.previous,
            approved=self.approved,
        )

    def at(
        self, status: DeploymentStatus, reason: str = "", stalled: bool = False
    ) -> DeploymentState:
        """The same in another status."""
        since = self.since if status is self.status else time.time()
        changed = {"status": status, "reason": reason, "stalled": stalled, "since": since}
        return self.model_copy(update=changed)

    def with_approval(self, commit: str) -> DeploymentState:
        others = [one for one in self.approved if one != commit]
        return self.model_copy(update={"approved": [*others, commit][-_REMEMBERED:]})

    @property
    def seconds(self) -> float:
        return max(time.time() - self.since, 0.0) if self.since else 0.0

    def is_of(self, wish: DesiredDeployment) -> bool:
        return (self.commit, self.attempt) == (wish.commit, wish.attempt)


class StateFile:
    """Where it is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> DeploymentState:
        """What was kept; what cannot be read counts as nothing."""
        try:
            return DeploymentState.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return DeploymentState()

    def write(self, state: DeploymentState) -> None:
        """Keep it, durably. ``OSError``: the disk takes no more."""
        write_atomic(self._path, state.model_dump_json(indent=2).encode(), 0o600)


class CommitNote(Report):
    """What is known of a commit whose folder is here."""

    commit: str
    #: The digest of its bundle.
    bundle: str
    subject: str = ""
    author: str = ""
    changes: CommitChanges = CommitChanges()
    #: The folder of its environment; "": it is not prepared yet.
    environment: str = ""
    #: The digests of the wheels that it is made of.
    wheels: list[str] = Field(default_factory=list)
    #: The packages that the app itself names.
    named: list[str] = Field(default_factory=list)
    #: Whether its signature was verified before it was unpacked.
    signed: bool = False
    #: What its trial found: the parameter contract, and the versions of those packages.
    fingerprint: str = ""
    packages: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, wish: DesiredDeployment) -> CommitNote:
        return cls(
            commit=wish.commit,
            bundle=wish.bundle.sha256,
            subject=wish.subject,
            author=wish.author,
            changes=wish.changes,
        )

    @classmethod
    def read(cls, place: CommitPlace) -> CommitNote | None:
        """None: it is not here, or not whole."""
        try:
            return cls.model_validate_json(place.note.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, place: CommitPlace) -> None:
        write_atomic(place.note, self.model_dump_json(indent=2).encode(), 0o600)
