"""The assignments that devices have in hand, as memory is filled with them and as people are told of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import Stage
from fedops.core.contracts.training import COALITION
from fedops.core.reasons.work import WorkFacts
from fedops.core.states import ASSIGNMENT_OPEN, ATTEMPT_LIVE, AssignmentStatus
from fedops.server.assignments.assignments import ENDED_BY_SERVER, Seen
from fedops.server.database.tables import AssignmentRow, AttemptRow
from fedops.server.events.notifications import OpenWork

#: Chooses the evaluations that a round's scores are made of; the others are work of the rounds themselves.
FOR_SCORES = AssignmentRow.kind.startswith(COALITION, autoescape=True)


def open_rows(session: Session, *where: ColumnElement[bool]) -> list[AssignmentRow]:
    """The open assignments that are chosen, oldest first."""
    query = select(AssignmentRow).where(*where, AssignmentRow.status.in_(ASSIGNMENT_OPEN))
    return list(session.scalars(query.order_by(AssignmentRow.offered_at, AssignmentRow.id)))


def count_open(session: Session, run_id: int) -> int:
    """How many assignments of a run devices have in hand."""
    query = select(func.count()).where(
        AssignmentRow.run_id == run_id, AssignmentRow.status.in_(ASSIGNMENT_OPEN)
    )
    return session.scalars(query).one()


def busy_with(session: Session, run_id: int) -> dict[str, int]:
    """The devices that work for another run now, by id: for which (the one that asked first)."""
    found: dict[str, int] = {}
    for device_id, work in _open_work(session, AssignmentRow.run_id != run_id):
        if work.run_id is not None:
            found.setdefault(device_id, work.run_id)
    return found


def work_by_device(session: Session, *where: ColumnElement[bool]) -> dict[str, list[WorkFacts]]:
    """The open assignments that are chosen, by device id, as people are told of them."""
    found: dict[str, list[WorkFacts]] = {}
    for device_id, work in _open_work(session, *where):
        found.setdefault(device_id, []).append(work)
    return found


def at_work(session: Session, stages: Collection[Stage]) -> dict[str, tuple[str, Stage]]:
    """Of the devices that are at one of these stages, by id: the task and the stage of the oldest work."""
    row = AssignmentRow
    query = (
        select(row.device_id, row.task, row.stage)
        .where(row.status.in_(ASSIGNMENT_OPEN), row.stage.in_(stages))
        .order_by(row.offered_at.desc(), row.id.desc())
    )
    named = {stage.value: stage for stage in stages}
    return {id_: (task, named[stage]) for id_, task, stage in session.execute(query)}


def _open_work(session: Session, *where: ColumnElement[bool]) -> Iterator[tuple[str, WorkFacts]]:
    """The open assignments that are chosen, oldest first, each with its device's id."""
    row = AssignmentRow
    query = (
        select(row.device_id, row.status, row.kind, row.task, row.run_id, row.round)
        .add_columns(row.stage, row.done, row.total, row.stage_text)
        .where(*where, row.status.in_(ASSIGNMENT_OPEN))
        .order_by(row.offered_at, row.id)
    )
    for device_id, status, kind, task, run_id, number, stage, *rest in session.execute(query):
        accepted = status is not AssignmentStatus.OFFERED
        yield device_id, WorkFacts(kind, task, run_id, number, accepted, Stage(stage), *rest)


def unreleased(session: Session) -> list[AssignmentRow]:
    """What the server ended and the device did not let go of yet."""
    query = select(AssignmentRow).where(
        AssignmentRow.status.in_(ENDED_BY_SERVER), AssignmentRow.released_at.is_(None)
    )
    return list(session.scalars(query))


def work_of(row: AssignmentRow) -> OpenWork:
    """An assignment as memory keeps it."""
    return OpenWork(
        id=row.id,
        device_id=row.device_id,
        kind=row.kind,
        task=row.task,
        run_id=row.run_id,
        attempt=row.attempt,
        round=row.round,
        retry=row.retry,
        group_id=row.group_id,
        work_key=row.work_key,
        instruction=row.instruction,
        model=row.model,
        encodings=tuple(row.encodings),
        max_bytes=row.max_bytes,
        deadline_at=row.deadline_at,
        upload_grace=row.upload_grace,
    )


def seen_of(row: AssignmentRow) -> Seen:
    """How far the device is with an assignment, as the database has it."""
    return Seen(
        id=row.id,
        status=row.status,
        accepted_at=row.accepted_at,
        sending_at=row.sending_at,
        stage=row.stage,
        done=row.done,
        total=row.total,
        text=row.stage_text,
    )


def attempts_waiting_for(session: Session, device_id: str) -> list[int]:
    """The live attempts whose run waits for work of the device."""
    waits = (AssignmentRow.run_id == AttemptRow.run_id, AssignmentRow.device_id == device_id)
    query = (
        select(AttemptRow.id)
        .join(AssignmentRow, AssignmentRow.run_id == AttemptRow.run_id)
        .where(
            *waits, AssignmentRow.status.in_(ASSIGNMENT_OPEN), AttemptRow.status.in_(ATTEMPT_LIVE)
        )
        .distinct()
        .order_by(AttemptRow.id)
    )
    return list(session.scalars(query))
