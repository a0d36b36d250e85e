"""What the hub knows of an assignment and of a device, and what a device is told of both."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedops.core.contracts import Cancellation, HeldAssignment, Offer, Progress, Stage
from fedops.core.states import AssignmentStatus
from fedops.server.assignments.assignments import Seen
from fedops.server.events.notifications import OpenWork, WorkOver


@dataclass
class Piece:
    """An assignment that is open, or was ended by the server and may still be held."""

    work: OpenWork
    status: AssignmentStatus = AssignmentStatus.OFFERED
    accepted_at: float | None = None
    #: Since when it is to be sent, or is being sent. POSIX seconds.
    sending_at: float | None = None
    progress: Progress = field(default_factory=lambda: Progress(stage=Stage.WAITING))
    #: Whether the device may be at it, as far as we know.
    maybe_held: bool = False
    cancelled: Cancellation | None = None
    #: The last poll that had arrived when it was cancelled or accepted.
    at_poll: int = 0
    #: How much of its result is here, once some of it came. Bytes.
    arrived: int | None = None


@dataclass
class DeviceWork:
    revision: int
    pieces: dict[str, Piece] = field(default_factory=dict)
    polls: int = 0
    #: What was last given to whom: (life, item of news) -> when.
    given: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Listener:
    """A poll of a device that waits: which life of it, what that holds, and the number of the poll."""

    device_id: str
    life: str
    held: frozenset[str]
    poll: int
    #: Whether it may be given new work.
    takes_offers: bool = True


@dataclass(frozen=True)
class News:
    """What a device is told of its work."""

    revision: int
    offers: list[Offer] = field(default_factory=list)
    cancel: list[Cancellation] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)

    @property
    def items(self) -> list[str]:
        """What is said of which assignment: the same again is no news."""
        offers = [f"offer {offer.id}" for offer in self.offers]
        cancel = [f"cancel {cancelled.id}" for cancelled in self.cancel]
        return [*offers, *cancel, *(f"forget {id_}" for id_ in self.forget)]


def offer_of(work: OpenWork, now: float) -> Offer:
    return Offer(
        id=work.id,
        kind=work.kind,
        task=work.task,
        run_id=work.run_id,
        round=work.round,
        seconds_left=max(work.deadline_at - now, 0.0),
    )


def cancellation_of(over: WorkOver) -> Cancellation:
    return Cancellation(
        id=over.assignment_id, reason=over.cancelled or "", checkpoint=over.checkpoint
    )


def progress_of(said: HeldAssignment) -> Progress:
    return Progress.model_construct(
        stage=said.stage, done=said.done, total=said.total, text=said.text
    )


def seen_of(piece: Piece) -> Seen:
    progress = piece.progress
    return Seen(
        id=piece.work.id,
        status=piece.status,
        accepted_at=piece.accepted_at,
        sending_at=piece.sending_at,
        stage=progress.stage.value,
        done=progress.done,
        total=progress.total,
        text=progress.text,
    )
