"""What others must hear of once a change is durable: collected in a transaction, sent after its commit.

Use cases call ``tell``; ``Database.write`` sends; the composition root connects who listens.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from fedops.core.contracts import Delivery
from fedops.server.database import after_commit


@dataclass(frozen=True)
class DeviceChanged:
    """What the server wants of a device may have changed."""

    device_id: str


@dataclass(frozen=True)
class DeviceGone:
    """A device went offline, was revoked, or left: nothing more will come from it."""

    device_id: str
    name: str
    #: The live attempts that may wait for it.
    attempt_ids: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class DeviceBack:
    """A device that was away called again."""

    device_id: str
    name: str
    #: The live attempts that wait for its work.
    attempt_ids: tuple[int, ...]


@dataclass(frozen=True)
class OpenWork:
    """An assignment that a device may still deliver, as it is needed without the database."""

    id: str
    device_id: str
    kind: str
    task: str
    run_id: int | None
    attempt: int | None
    round: int | None
    retry: int
    group_id: str
    work_key: str
    instruction: str
    model: str | None
    encodings: tuple[str, ...]
    max_bytes: int | None
    #: POSIX seconds on the server's clock.
    deadline_at: float
    #: Beyond the deadline, for who waits for an upload slot or uploads. Seconds.
    upload_grace: float


@dataclass(frozen=True)
class WorkOffered:
    """There is new work for devices."""

    works: tuple[OpenWork, ...]


@dataclass(frozen=True)
class WorkOver:
    """A device has nothing more to do for an assignment."""

    assignment_id: str
    device_id: str
    #: Why the server ended it, while the device may be at it. None: delivered, or ended by the device.
    cancelled: str | None = None
    #: Whether the device is to write a checkpoint first.
    checkpoint: bool = False


@dataclass(frozen=True)
class WorkReleased:
    """Devices are not at these assignments any more, which the server had ended."""

    assignment_ids: tuple[str, ...]


@dataclass(frozen=True)
class DeviceLife:
    """Which life of a device's Client Manager called, and when (POSIX seconds)."""

    device_id: str
    life: str
    at: float


@dataclass(frozen=True)
class WorkForEngine:
    """The engine of a run must hear what became of an assignment."""

    run_id: int
    delivery: Delivery


@dataclass(frozen=True)
class AttemptHello:
    """An attempt begins to collect: these came before it, and these devices are away."""

    attempt_id: int
    run_id: int
    deliveries: tuple[Delivery, ...] = ()
    #: (name, why)
    gone: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class TokensChanged:
    """A token that was valid may not be so any more."""


@dataclass(frozen=True)
class AttemptSignal:
    """The engine of an attempt must look again: the command changed, or a device became ready."""

    attempt_id: int


@dataclass(frozen=True)
class AttemptOver:
    """An attempt is not live any more: free what it holds."""

    attempt_id: int
    run_id: int


@dataclass(frozen=True)
class WorkForScheduler:
    """There is an FL server to start or to end."""


@dataclass(frozen=True)
class WorkForRollouts:
    """A device said how far it is with a commit, or a person decided something about a rollout."""


Notice = (
    DeviceChanged
    | DeviceGone
    | DeviceBack
    | WorkOffered
    | WorkOver
    | WorkReleased
    | DeviceLife
    | WorkForEngine
    | AttemptHello
    | TokensChanged
    | AttemptSignal
    | AttemptOver
    | WorkForScheduler
    | WorkForRollouts
)


def notify(session: Session, *notices: Notice) -> None:
    """Send these when (and only when) the transaction of ``session`` is committed."""
    after_commit.collect(session, notices)
