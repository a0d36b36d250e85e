"""Rounds that were begun and not committed: the next attempt takes them over, with all that was delivered."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import OpenAssignment, OpenRound
from fedops.core.presence import is_online
from fedops.core.reasons.durations import duration
from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus, Enrolment
from fedops.server.assignments import assignments, open_work
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import (
    AssignmentRow,
    AttemptRow,
    DeviceRow,
    InstructionRow,
    ParticipationRow,
    RoundRow,
    RunRow,
)
from fedops.server.events import event_log
from fedops.server.events.notifications import AttemptHello, notify
from fedops.server.runs import attempts


def adopt(
    session: Session, attempt: AttemptRow, run: RunRow, model: str | None, now: float
) -> OpenRound | None:
    """What there is of the run's next round, if it was begun from this very model; else it begins anew.

    The attempt hears what was delivered already as its first deliveries.
    """
    number = run.committed_rounds + 1
    row = session.get(RoundRow, (run.id, number))
    rows: list[AssignmentRow] = []
    found = None
    if row is not None and row.committed_at is None and model and row.begun_from == model:
        rows = _latest(session, run.id, number)
        found = _take_over(session, attempt, row, rows, now)
    else:
        reason = f"round {number} begins anew from another model"
        assignments.cancel_assignments(
            session, assignments.assignments_of_run(run.id, number), reason, now, delivered=True
        )
    begin_collecting(session, attempt, rows, now)
    return found


def _latest(session: Session, run_id: int, number: int) -> list[AssignmentRow]:
    """The last try of each device and kind. What was cancelled is to be offered again.

    Of a device that was revoked meanwhile nothing is used.
    """
    query = (
        select(AssignmentRow)
        .join(DeviceRow, DeviceRow.id == AssignmentRow.device_id)
        .where(
            *assignments.assignments_of_run(run_id, number),
            ~open_work.FOR_SCORES,
            DeviceRow.enrolment == Enrolment.APPROVED,
        )
        .order_by(AssignmentRow.retry, AssignmentRow.offered_at)
    )
    last = {(row.device_id, row.kind): row for row in session.scalars(query)}
    return [row for row in last.values() if row.status is not AssignmentStatus.CANCELLED]


def _take_over(
    session: Session, attempt: AttemptRow, row: RoundRow, rows: list[AssignmentRow], now: float
) -> OpenRound:
    before, row.attempt = row.attempt, attempt.number
    session.execute(
        update(ParticipationRow)
        .where(ParticipationRow.run_id == row.run_id, ParticipationRow.round == row.round)
        .where(ParticipationRow.attempt == before)
        .values(attempt=attempt.number)
    )
    session.flush()
    selected = _selected(session, row, attempt.number)
    if before != attempt.number:
        done = sum(one.status in assignments.DELIVERED for one in rows)
        subject = f"round {row.round} of run {row.run_id}"
        text = (
            f"attempt {attempt.number} goes on with it; {done} of {len(selected)} delivered already"
        )
        who = attempts.engine_of(attempt)
        event_log.append_event(session, now, who, subject, "round.taken_over", text, row.run_id)
    deadline = min((one.deadline_at for one in rows), default=now)
    names = {delivery.id: delivery.device for delivery in assignments.deliveries(session, rows)}
    orders = sorted({one.instruction for one in rows})
    return OpenRound(
        round=row.round,
        selected=selected,
        assignments=[_open(one, names[one.id], selected, orders) for one in rows],
        instructions=[_document(session, id_) for id_ in orders],
        seconds_left=max(deadline - now, 0.0),
    )


def _document(session: Session, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(session.get_one(InstructionRow, id_).content)
    return found


def _selected(session: Session, row: RoundRow, attempt: int) -> dict[str, str]:
    query = (
        select(DeviceRow.name, ParticipationRow.selection)
        .join(ParticipationRow, ParticipationRow.device_id == DeviceRow.id)
        .where(ParticipationRow.run_id == row.run_id, ParticipationRow.round == row.round)
        .where(ParticipationRow.attempt == attempt, DeviceRow.enrolment == Enrolment.APPROVED)
        .order_by(DeviceRow.name)
    )
    return {name: selection for name, selection in session.execute(query)}


def _open(
    row: AssignmentRow, device: str, selected: dict[str, str], orders: list[str]
) -> OpenAssignment:
    return read_as(
        OpenAssignment,
        row,
        device=device,
        selection=selected.get(device, ""),
        instruction=orders.index(row.instruction),
    )


def begin_collecting(
    session: Session, attempt: AttemptRow, rows: list[AssignmentRow], now: float
) -> None:
    """From here on the attempt hears what becomes of its run's assignments."""
    over = [row for row in rows if row.status not in ASSIGNMENT_OPEN]
    waits_for = {row.device_id for row in rows if row.status in ASSIGNMENT_OPEN}
    query = select(DeviceRow).where(DeviceRow.id.in_(waits_for)).order_by(DeviceRow.name)
    gone = [
        (device.name, away(device, now))
        for device in session.scalars(query)
        if not is_online(device.present_until, now)
    ]
    found = tuple(assignments.deliveries(session, over))
    notify(session, AttemptHello(attempt.id, attempt.run_id, found, tuple(gone)))


def away(device: DeviceRow, now: float) -> str:
    """How long a device has not been heard."""
    if device.last_heartbeat_at is None:
        return "offline, never seen"
    return f"offline, last seen {duration(now - device.last_heartbeat_at)} ago"
