"""What another Server Manager's words stand for: notices, made of the rows that they name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.states import ASSIGNMENT_OPEN
from fedops.server.assignments import assignments, open_work
from fedops.server.assignments.assignments import ENDED_BY_SERVER
from fedops.server.database.tables import AssignmentRow
from fedops.server.events.notifications import (
    AttemptOver,
    AttemptSignal,
    DeviceBack,
    DeviceChanged,
    DeviceGone,
    DeviceLife,
    Notice,
    TokensChanged,
    WorkForEngine,
    WorkForRollouts,
    WorkForScheduler,
    WorkOffered,
    WorkOver,
    WorkReleased,
)
from fedops.server.peers import notice_encoding
from fedops.server.peers.notice_encoding import Heard


def notices_of(session: Session, heard: Heard, hosted: Collection[int]) -> list[Notice]:
    """What was told there, to be told here. ``hosted``: the runs whose engines call this process."""
    items = heard.items
    match heard.kind:
        case notice_encoding.OFFERED:
            return [WorkOffered(tuple(map(open_work.work_of, open_rows(session, items))))]
        case notice_encoding.OVER | notice_encoding.OVER_SAVED:
            checkpoint = heard.kind == notice_encoding.OVER_SAVED
            return [over_of(row, checkpoint=checkpoint) for row in rows(session, items)]
        case notice_encoding.RELEASED:
            return [WorkReleased(tuple(items))]
        case notice_encoding.ENGINE:
            wanted = [id_ for run_id, id_ in items if run_id in hosted]
            return list(for_engine(session, rows(session, wanted)))
        case notice_encoding.NUDGE:
            return [AttemptSignal(attempt_id) for attempt_id in items]
        case notice_encoding.ATTEMPT_OVER:
            return [AttemptOver(attempt_id, run_id) for attempt_id, run_id in items]
        case notice_encoding.TOKENS:
            return [TokensChanged()]
        case notice_encoding.SCHEDULER:
            return [WorkForScheduler()]
        case notice_encoding.ROLLOUTS:
            return [WorkForRollouts()]
    return _of_devices(heard)


def _of_devices(heard: Heard) -> list[Notice]:
    match heard.kind:
        case notice_encoding.CHANGED:
            return [DeviceChanged(device_id) for device_id in heard.items]
        case notice_encoding.GONE:
            return [
                DeviceGone(device_id, name, tuple(attempts), why)
                for device_id, name, attempts, why in heard.items
            ]
        case notice_encoding.BACK:
            return [
                DeviceBack(device_id, name, tuple(attempts))
                for device_id, name, attempts in heard.items
            ]
        case notice_encoding.LIFE:
            return [DeviceLife(device_id, life, at) for device_id, life, at in heard.items]
    return []


def rows(session: Session, ids: Iterable[str]) -> Sequence[AssignmentRow]:
    """These assignments, as far as there are any."""
    wanted = sorted(set(ids))
    if not wanted:
        return []
    return session.scalars(select(AssignmentRow).where(AssignmentRow.id.in_(wanted))).all()


def open_rows(session: Session, ids: Iterable[str]) -> list[AssignmentRow]:
    """Those of them that are open."""
    return [row for row in rows(session, ids) if row.status in ASSIGNMENT_OPEN]


def over_of(row: AssignmentRow, *, checkpoint: bool = False) -> WorkOver:
    """How an assignment ended."""
    reason = row.reason if row.status in ENDED_BY_SERVER else None
    return WorkOver(row.id, row.device_id, reason, checkpoint)


def for_engine(session: Session, found: Sequence[AssignmentRow]) -> Iterator[WorkForEngine]:
    """What engines must hear of these."""
    for delivery, row in zip(assignments.deliveries(session, found), found, strict=True):
        if row.run_id is not None:
            yield WorkForEngine(row.run_id, delivery)
