"""What became of a device in a round, as one byte."""

from __future__ import annotations

from enum import IntEnum

from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus, ParticipationStatus


class Cell(IntEnum):
    """A device in a round. The numbers are stored: they do not change."""

    NOT_ASKED = 0
    REPLIED = 1
    REJECTED = 2  #: replied, and the update was refused by the checks
    DROPPED = 3
    LATE = 4  #: it was there, and did not deliver in time
    FAILED = 5  #: the app raised on it
    REFUSED = 6  #: it said no
    LOST = 7  #: it was not heard of any more
    ASKED = 8
    WORKING = 9
    DELIVERED = 10  #: in the open round


WORDS = {cell: cell.name.lower().replace("_", " ") for cell in Cell}
#: Somebody was asked, and nothing of it counts.
TROUBLE = (Cell.REJECTED, Cell.DROPPED, Cell.LATE, Cell.FAILED, Cell.REFUSED, Cell.LOST)

#: In the order in which they are explained.
KEYS = (Cell.REPLIED, Cell.WORKING, Cell.DELIVERED, Cell.ASKED, *TROUBLE)

_ENDS = {
    AssignmentStatus.FAILED: Cell.FAILED,
    AssignmentStatus.REFUSED: Cell.REFUSED,
    AssignmentStatus.REJECTED: Cell.REJECTED,
}
_TOO_LATE = (*ASSIGNMENT_OPEN, AssignmentStatus.EXPIRED, AssignmentStatus.UPLOADED)
_IN_WORK = {
    **_ENDS,
    AssignmentStatus.ACCEPTED: Cell.WORKING,
    AssignmentStatus.WORKING: Cell.WORKING,
    AssignmentStatus.UPLOADED: Cell.DELIVERED,
    AssignmentStatus.CHECKED: Cell.DELIVERED,
    AssignmentStatus.EXPIRED: Cell.LATE,
    AssignmentStatus.CANCELLED: Cell.DROPPED,
}


def settled(
    status: ParticipationStatus, work: AssignmentStatus | None, is_there: bool = True
) -> Cell:
    """A device in a round that is committed. ``work``: what it was asked to do, as far as that is known."""
    if status is ParticipationStatus.REPLIED:
        return Cell.REPLIED
    if status is ParticipationStatus.REJECTED:
        return Cell.REJECTED
    if work in _ENDS:
        return _ENDS[work]
    if not is_there:
        return Cell.LOST
    return Cell.LATE if work in _TOO_LATE else Cell.DROPPED


def under_way(work: AssignmentStatus | None) -> Cell:
    """A device in the open round, which it was chosen for."""
    return Cell.ASKED if work is None else _IN_WORK.get(work, Cell.ASKED)
