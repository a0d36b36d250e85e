"""Assignments as rows: moved along their states by compare-and-set, ended, and let go of.

What a device fetched and how far it is comes from memory, in batches (``progress_rows``);
deliveries and ends are written as they come. Whoever waits hears of each change once it is durable.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import BENCH, WATCH, BlobRef, Delivery, Stage, WorkEnd
from fedops.core.errors import NotFound
from fedops.core.states import (
    ASSIGNMENT_OPEN,
    ASSIGNMENT_TRANSITIONS,
    ENROLMENT_DISTRUSTED,
    RUN_TERMINAL,
    AssignmentStatus,
    Enrolment,
)
from fedops.server.assignments import bench_results, watch_results
from fedops.server.database.tables import AssignmentRow, DeviceRow, RunRow
from fedops.server.events.notifications import WorkForEngine, WorkOver, notify
from fedops.server.protocol.refusals import Gone

A = AssignmentStatus
#: Chooses the open ones.
OPEN = AssignmentRow.status.in_(ASSIGNMENT_OPEN)
#: Ended by the server: the device may still be at it, until it says that it is not.
ENDED_BY_SERVER = frozenset({A.CANCELLED, A.EXPIRED})
#: Nobody may change a result any more, and a repeated delivery is harmless.
DELIVERED = frozenset({A.UPLOADED, A.CHECKED, A.REJECTED})

#: Why nothing of a device that was revoked is used.
REVOKED = "device revoked"
#: Who does this may go on for a while after the deadline.
SENDING = (Stage.WAITING_TO_UPLOAD, Stage.UPLOADING)


@dataclass(frozen=True)
class Result:
    """What a device delivered: a blob that the store holds, or the file itself."""

    size: int
    blob: str | None = None
    inline: bytes | None = None
    encoding: str = "none"
    decoded_sha256: str | None = None
    decoded_size: int | None = None
    #: When the device had it, and began to send it. POSIX seconds; None: it came at once, or nobody knows.
    sending_at: float | None = None


@dataclass(frozen=True)
class Seen:
    """How far a device is with an assignment, as it goes to the database."""

    id: str
    status: AssignmentStatus
    accepted_at: float | None
    sending_at: float | None
    stage: str
    done: int
    total: int
    text: str


# --- moving ----------------------------------------------------------------------------------


def move_assignments(
    session: Session, new: AssignmentStatus, where: Sequence[ColumnElement[bool]], **values: Any
) -> list[AssignmentRow]:
    """Take the chosen assignments to a state, those that may go there. Returns them, as they are now."""
    before = [status for status, after in ASSIGNMENT_TRANSITIONS.items() if new in after]
    session.flush()
    statement = (
        update(AssignmentRow)
        .where(*where, AssignmentRow.status.in_(before))
        .values(status=new, **values)
        .returning(AssignmentRow)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return sorted(session.scalars(statement), key=lambda row: row.offered_at)


def cancel_assignments(
    session: Session,
    where: Sequence[ColumnElement[bool]],
    reason: str,
    now: float,
    *,
    new: AssignmentStatus = A.CANCELLED,
    checkpoint: bool = False,
    delivered: bool = False,
) -> int:
    """End the chosen open assignments (``delivered``: also those that were not checked). Returns how many."""
    states = [*ASSIGNMENT_OPEN, *([A.UPLOADED] if delivered else [])]
    chosen = [*where, AssignmentRow.status.in_(states)]
    rows = move_assignments(session, new, chosen, ended_at=now, reason=reason)
    for row in rows:
        notify(session, WorkOver(row.id, row.device_id, reason, checkpoint))
    tell_engine(session, rows)
    return len(rows)


def cancel_benches(
    session: Session, task: str, reason: str, now: float, device_id: str | None = None
) -> None:
    """End what goes on for a task outside of runs: benchmarks, looks at data. Of this device, or of all."""
    where = [AssignmentRow.task == task, AssignmentRow.kind.in_((BENCH, WATCH))]
    of_device = [] if device_id is None else [AssignmentRow.device_id == device_id]
    cancel_assignments(session, [*where, *of_device, AssignmentRow.run_id.is_(None)], reason, now)


def assignments_of_run(run_id: int, number: int | None = None) -> list[ColumnElement[bool]]:
    """Chooses the assignments of a run, or of one of its rounds."""
    chosen = [AssignmentRow.run_id == run_id]
    return chosen if number is None else [*chosen, AssignmentRow.round == number]


# --- by the device ---------------------------------------------------------------------------


def end_assignment(session: Session, device_id: str, id_: str, body: WorkEnd, now: float) -> None:
    """The device ends an assignment without a result. Repeating is harmless.

    Raises:
        NotFound: it is not this device's.
        Gone: it is over in another way.
    """
    new = A.REFUSED if body.outcome == "refused" else A.FAILED
    rows = move_assignments(
        session, new, _one(device_id, id_), ended_at=now, reason=body.reason, code=body.code
    )
    if not rows:
        _require_same(session, device_id, id_, {A.REFUSED, A.FAILED})
    _over(session, rows)


def deliver_result(session: Session, device_id: str, id_: str, result: Result, now: float) -> None:
    """The result of an assignment is here. Repeating is harmless; the first one counts.

    Raises:
        NotFound: it is not this device's.
        Gone: it is over in another way.
    """
    values = {"key": id_, "device": device_id, "delivered_at": now, **asdict(result)}
    row = session.connection().execute(_DELIVER, values).first()
    if row is None:
        _require_same(session, device_id, id_, DELIVERED)
        return
    notify(session, WorkOver(id_, device_id))
    if row.run_id is not None:
        found = {"id": id_, "status": A.UPLOADED, "inline": result.inline, **_said_of(result)}
        place = {"device": row.name, "kind": row.kind, "round": row.round, "retry": row.retry}
        notify(session, WorkForEngine(row.run_id, _delivery(**found, **place)))
    elif row.kind == BENCH:
        bench_results.take_result(session, id_, result.inline, now)
    elif row.kind == WATCH:
        watch_results.take_result(session, id_, result.inline, now)


_TABLE, _DEVICES = AssignmentRow.__table__.c, DeviceRow.__table__.c
# Made once: this is what a round does most, and making it would cost more than the database does.
_DELIVER = (
    update(AssignmentRow.__table__)  # type: ignore[arg-type]
    .where(_TABLE.id == bindparam("key"), _TABLE.device_id == bindparam("device"))
    .where(
        or_(
            *(
                _TABLE.status == s
                for s, after in ASSIGNMENT_TRANSITIONS.items()
                if A.UPLOADED in after
            )
        )
    )
    .values(
        status=A.UPLOADED,
        delivered_at=bindparam("delivered_at"),
        **{field.name: bindparam(field.name) for field in fields(Result)}
        | {"sending_at": func.coalesce(bindparam("sending_at"), _TABLE.sending_at)},
    )
    .returning(
        _TABLE.run_id,
        _TABLE.kind,
        _TABLE.round,
        _TABLE.retry,
        select(_DEVICES.name)
        .where(_DEVICES.id == _TABLE.device_id)
        .scalar_subquery()
        .label("name"),
    )
)


def _said_of(result: Result | AssignmentRow) -> dict[str, Any]:
    blob = BlobRef(sha256=result.blob, size=result.size or 0) if result.blob else None
    return {
        "blob": blob,
        "encoding": result.encoding,
        "decoded_sha256": result.decoded_sha256,
        "decoded_size": result.decoded_size,
    }


def _over(session: Session, rows: Iterable[AssignmentRow]) -> None:
    found = list(rows)
    for row in found:
        notify(session, WorkOver(row.id, row.device_id))
    tell_engine(session, found)


def _one(device_id: str, id_: str) -> list[ColumnElement[bool]]:
    return [AssignmentRow.id == id_, AssignmentRow.device_id == device_id]


def _require_same(
    session: Session, device_id: str, id_: str, states: Collection[AssignmentStatus]
) -> None:
    row = require_assignment(session, device_id, id_)
    if row.status not in states:
        raise gone(row.status, row.reason)


def require_assignment(session: Session, device_id: str, id_: str) -> AssignmentRow:
    """An assignment of this device. ``NotFound`` when it is another one's, too."""
    row = session.get(AssignmentRow, id_)
    if row is None or row.device_id != device_id:
        raise NotFound(f"this device has no assignment {id_[:40]}")
    return row


def raise_gone(session: Session, device_id: str, id_: str) -> NoReturn:
    """``Gone`` with how a device's assignment ended; ``NotFound``: it never was that device's."""
    row = require_assignment(session, device_id, id_)
    raise gone(row.status, row.reason)


def gone(status: AssignmentStatus, reason: str) -> Gone:
    """What a device is told that comes too late."""
    because = f": {reason}" if reason else ""
    return Gone(f"the assignment is {status.value}{because}; drop what there is of it")


# --- by the engine ---------------------------------------------------------------------------


def judge_results(
    session: Session,
    run_id: int,
    checked: Collection[str],
    rejected: Mapping[str, str],
    now: float,
) -> None:
    """The engine took these results, and those not. Repeating is harmless."""
    if checked:
        move_assignments(
            session,
            A.CHECKED,
            [*assignments_of_run(run_id), AssignmentRow.id.in_(checked)],
            ended_at=now,
        )
    for id_, reason in rejected.items():
        where = [*assignments_of_run(run_id), AssignmentRow.id == id_]
        move_assignments(session, A.REJECTED, where, ended_at=now, reason=reason)


def tell_engine(session: Session, rows: Sequence[AssignmentRow]) -> None:
    """The engines of the runs must hear what became of these, or the benchmarks that they are."""
    bench_results.note_ends(session, rows)
    watch_results.note_ends(session, rows)
    for delivery, row in zip(deliveries(session, rows), rows, strict=True):
        if row.run_id is not None:
            notify(session, WorkForEngine(row.run_id, delivery))


def deliveries(session: Session, rows: Sequence[AssignmentRow]) -> list[Delivery]:
    """What became of assignments, as the engine hears it: of a device not trusted, results are rejected."""
    ids = {row.device_id for row in rows}
    if not ids:
        return []
    query = select(DeviceRow.id, DeviceRow.name, DeviceRow.enrolment).where(DeviceRow.id.in_(ids))
    devices = {id_: (name, enrolment) for id_, name, enrolment in session.execute(query)}
    return [_of_row(row, *devices[row.device_id]) for row in rows]


def _of_row(row: AssignmentRow, device: str, enrolment: Enrolment) -> Delivery:
    found = _said_of_row(row, device)
    if enrolment in ENROLMENT_DISTRUSTED and row.status in DELIVERED - {A.REJECTED}:
        why = {"status": A.REJECTED, "reason": f"device {enrolment.value}"}
        return found.model_copy(update=why)
    return found


def _said_of_row(row: AssignmentRow, device: str) -> Delivery:
    return _delivery(
        id=row.id,
        device=device,
        kind=row.kind,
        round=row.round,
        retry=row.retry,
        status=row.status,
        inline=row.inline,
        reason=row.reason,
        code=row.code,
        **_said_of(row),
    )


def _delivery(*, inline: bytes | None, **values: Any) -> Delivery:
    return Delivery(inline=None if inline is None else base64.b64encode(inline).decode(), **values)


def end_device_assignments(
    session: Session, device_id: str, now: float, reason: str = REVOKED, *, hears: bool = False
) -> None:
    """A device is trusted no more: what it has in hand ends, and what it delivered is not used.

    ``hears``: it still calls, and says itself that it lets go of its work.

    The rows of results that were checked stay as they are: the engines that took them hear that they are not
    to be used.
    """
    mine = [AssignmentRow.device_id == device_id]
    cancel_assignments(session, mine, reason, now)
    values = {"ended_at": now, "reason": reason}
    tell_engine(session, move_assignments(session, A.REJECTED, mine, **values))
    tell_engine(session, _checked_and_open(session, device_id))
    if hears:
        return
    let_go = select(AssignmentRow.id).where(*mine, AssignmentRow.status.in_(ENDED_BY_SERVER))
    release_assignments(session, session.scalars(let_go).all(), now)  # nobody hears that it does


def _checked_and_open(session: Session, device_id: str) -> Sequence[AssignmentRow]:
    """What engines took of a device in rounds that may still be committed."""
    query = (
        select(AssignmentRow)
        .join(RunRow, RunRow.id == AssignmentRow.run_id)
        .where(AssignmentRow.device_id == device_id, AssignmentRow.status == A.CHECKED)
        .where(RunRow.status.not_in(RUN_TERMINAL), AssignmentRow.round > RunRow.committed_rounds)
    )
    return session.scalars(query).all()


# --- by memory and time ----------------------------------------------------------------------


def release_assignments(session: Session, ids: Collection[str], now: float) -> set[int]:
    """Devices let go of these, which the server had ended. Returns the runs concerned."""
    statement = (
        update(AssignmentRow)
        .where(AssignmentRow.id.in_(ids), AssignmentRow.released_at.is_(None))
        .where(AssignmentRow.status.in_(ENDED_BY_SERVER))
        .values(released_at=now)
        .returning(AssignmentRow.run_id)
        .execution_options(synchronize_session=False)
    )
    return {run_id for run_id in session.scalars(statement) if run_id is not None}


def expire_assignments(session: Session, ids: Mapping[str, str], now: float) -> int:
    """Their time is up: id -> why. Returns how many were open still."""
    return sum(
        cancel_assignments(session, [AssignmentRow.id == id_], why, now, new=A.EXPIRED)
        for id_, why in ids.items()
    )


def sending(session: Session, ids: Collection[str], now: float) -> set[str]:
    """Those of these that have longer than their deadline: the device sends the result, or waits to."""
    longer = AssignmentRow.deadline_at + AssignmentRow.upload_grace > now
    query = select(AssignmentRow.id).where(
        AssignmentRow.id.in_(ids), AssignmentRow.stage.in_(SENDING), longer
    )
    return set(session.scalars(query))
