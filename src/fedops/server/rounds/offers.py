"""What an engine offers: instructions kept once, and an assignment for each device that is to follow one."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import OfferBatch, Offered, OfferRequest
from fedops.core.errors import Invalid
from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus, Enrolment
from fedops.server.assignments import assignments, open_work
from fedops.server.assignments.instruction_rows import keep_instruction
from fedops.server.database.tables import (
    AssignmentRow,
    AttemptRow,
    DeviceRow,
    RunRow,
)
from fedops.server.events.notifications import WorkOffered, notify

#: Beyond its deadline, of the time that it had; for who waits for a slot, or uploads.
UPLOAD_GRACE, LEAST_UPLOAD_GRACE_SECONDS = 0.1, 30.0
_Key = tuple[str, str]


def offer(
    session: Session, attempt: AttemptRow, run: RunRow, batch: OfferBatch, now: float
) -> Offered:
    """Make the assignments of a batch. What is open for a device, and what it delivered in this round, stays.

    Raises:
        Invalid: no such device, instruction, or blob that an instruction names.
    """
    devices = device_ids(session, [wanted.device for wanted in batch.offers])
    instructions = [
        keep_instruction(session, run.id, document, now) for document in batch.instructions
    ]
    there = _there(session, run.id, batch.round)
    found: dict[str, str] = {}
    new: list[AssignmentRow] = []
    for wanted in batch.offers:
        if wanted.instruction >= len(instructions):
            raise Invalid(f"the offer for '{wanted.device}' names no instruction of the batch")
        instruction = instructions[wanted.instruction]
        key = (devices[wanted.device], wanted.kind)
        row = _stays(session, there.get(key), attempt, instruction, wanted, now)
        if row is None:
            row = _row(attempt, run, batch, wanted, (key[0], instruction), now)
            new.append(row)
            there[key] = row
        found[wanted.device] = row.id
    _add(session, new, now)
    return Offered(assignments=found)


def device_ids(session: Session, names: Iterable[str]) -> dict[str, str]:
    """The ids of devices, by name. ``Invalid`` names those there are not."""
    wanted = set(names)
    query = select(DeviceRow.name, DeviceRow.id).where(DeviceRow.name.in_(wanted))
    ids = {name: device_id for name, device_id in session.execute(query)}
    unknown = sorted(wanted - set(ids))
    if unknown:
        raise Invalid(f"there is no device {', '.join(unknown)}")
    return ids


def _there(session: Session, run_id: int, number: int | None) -> dict[_Key, AssignmentRow]:
    """Of each device and kind, what it has to do or has delivered; of a round, the last try of it."""
    states = [*ASSIGNMENT_OPEN, *([AssignmentStatus.UPLOADED] if number is not None else [])]
    query = (
        select(AssignmentRow)
        .where(AssignmentRow.run_id == run_id, AssignmentRow.round.is_not_distinct_from(number))
        .where(AssignmentRow.status.in_(states))
        .order_by(AssignmentRow.retry, AssignmentRow.offered_at)
    )
    return {(row.device_id, row.kind): row for row in session.scalars(query)}


def _stays(
    session: Session,
    row: AssignmentRow | None,
    attempt: AttemptRow,
    instruction: str,
    wanted: OfferRequest,
    now: float,
) -> AssignmentRow | None:
    """The assignment that a device goes on with, if there is one for this offer."""
    if row is None:
        return None
    if row.status is AssignmentStatus.UPLOADED:
        return row if row.retry == wanted.retry else None
    same = row.instruction == instruction or row.attempt == attempt.number
    if same or row.round is not None:
        return row
    reason = f"attempt {attempt.number} asks for something else"
    assignments.cancel_assignments(session, [AssignmentRow.id == row.id], reason, now)
    return None


def _row(
    attempt: AttemptRow,
    run: RunRow,
    batch: OfferBatch,
    wanted: OfferRequest,
    place: tuple[str, str],
    now: float,
) -> AssignmentRow:
    device_id, instruction = place
    model = (batch.model or "none")[:16]
    return AssignmentRow(
        id=uuid.uuid4().hex,
        device_id=device_id,
        kind=wanted.kind,
        task=run.task,
        run_id=run.id,
        attempt=attempt.number,
        round=batch.round,
        retry=wanted.retry,
        group_id=batch.group_id or (str(batch.round) if batch.round is not None else ""),
        work_key=f"run-{run.id}-round-{batch.round or 0}-{wanted.kind}-{model}",
        instruction=instruction,
        model=batch.model,
        encodings=list(batch.encodings),
        max_bytes=batch.max_bytes,
        evaluates=wanted.evaluates,
        status=AssignmentStatus.OFFERED,
        offered_at=now,
        deadline_at=now + batch.deadline_seconds,
        upload_grace=max(UPLOAD_GRACE * batch.deadline_seconds, LEAST_UPLOAD_GRACE_SECONDS),
    )


def _add(session: Session, rows: Sequence[AssignmentRow], now: float) -> None:
    out = not_approved(session, {row.device_id for row in rows})
    for row in rows:
        if row.device_id in out:  # decided in this very moment: the engine hears it as an end
            row.status, row.reason = AssignmentStatus.CANCELLED, out[row.device_id]
            row.ended_at = row.released_at = now
    if rows:
        session.add_all(rows)
        session.flush()
        open_ = [row for row in rows if row.device_id not in out]
        notify(session, WorkOffered(tuple(open_work.work_of(row) for row in open_)))
        assignments.tell_engine(session, [row for row in rows if row.device_id in out])


def not_approved(session: Session, device_ids: set[str]) -> dict[str, str]:
    """Device id -> why it takes part in nothing."""
    query = select(DeviceRow.id, DeviceRow.enrolment).where(
        DeviceRow.id.in_(device_ids), DeviceRow.enrolment != Enrolment.APPROVED
    )
    return {id_: f"the device is {status.value}" for id_, status in session.execute(query)}
