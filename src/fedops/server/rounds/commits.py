"""Rounds as the round engine reports them: begun, with work for their clients, and committed for good."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fedops.core.contracts import (
    CancelRequest,
    CommitReply,
    OfferBatch,
    Offered,
    ParticipationReport,
    RoundBegin,
    RoundCommit,
)
from fedops.core.contracts.training import is_coalition_kind
from fedops.core.errors import AttemptSuperseded, Conflict, Invalid
from fedops.core.states import ENROLMENT_DISTRUSTED, AssignmentStatus, ParticipationStatus
from fedops.server.assignments import assignments
from fedops.server.contribution import client_evaluations, round_scores
from fedops.server.database import blob_rows
from fedops.server.database.compare_and_set import compare_and_set
from fedops.server.database.tables import (
    AssignmentRow,
    AttemptRow,
    DeviceRow,
    MetricRow,
    ParticipationRow,
    RoundRow,
    RunRow,
    SelectionRow,
)
from fedops.server.events import event_log
from fedops.server.events.notifications import DeviceChanged, notify
from fedops.server.pictures import round_pictures
from fedops.server.rounds.engine_session import command_for, require_current_attempt
from fedops.server.rounds.offers import device_ids, not_approved, offer
from fedops.server.runs.attempts import engine_of


def begin_round(
    session: Session, attempt_id: int, number: int, body: RoundBegin, now: float
) -> Offered:
    """The clients of a round are chosen, and their work is offered.

    Beginning it again (another choice) replaces the first; who does its work for it already goes on with it.
    """
    attempt, run = require_current_attempt(session, attempt_id)
    _require_next(run, number)
    row = session.get(RoundRow, (run.id, number))
    if row is None:
        row = RoundRow(
            run_id=run.id,
            round=number,
            attempt=attempt.number,
            begun=1,
            started_at=now,
            timing={},
            metrics={},
            client_metrics={},
            train_metrics={},
        )
        session.add(row)
    else:
        row.attempt, row.begun, row.started_at = attempt.number, row.begun + 1, now
    row.begun_from = body.offers.model if body.offers else None
    session.flush()
    _select(session, attempt, row, body, now)
    _keep_decisions(session, attempt, row, body, now)
    text = f"{len(body.selected)} devices: {', '.join(sorted(body.selected))}"
    again = {"begun": row.begun} if row.begun > 1 else {}
    subject = f"round {number} of run {run.id}"
    event_log.append_event(
        session, now, engine_of(attempt), subject, "round.begun", text, run.id, **again
    )
    return _offer(session, attempt, run, number, body, now)


def _offer(
    session: Session, attempt: AttemptRow, run: RunRow, number: int, body: RoundBegin, now: float
) -> Offered:
    if body.offers is None:
        return Offered(assignments={})
    if body.offers.round not in (None, number):
        raise Invalid(f"round {number} is begun, and its offers are of round {body.offers.round}")
    batch = body.offers.model_copy(update={"round": number})
    _end_others(session, run, number, set(body.selected), now)
    return offer(session, attempt, run, batch, now)


def _end_others(session: Session, run: RunRow, number: int, names: set[str], now: float) -> None:
    """Who is not chosen any more has nothing more to do in the round."""
    query = select(DeviceRow.id).where(DeviceRow.name.in_(names))
    others = AssignmentRow.device_id.not_in(query)
    where = [*assignments.assignments_of_run(run.id, number), others]
    assignments.cancel_assignments(session, where, "the round was begun anew without it", now)


def make_offers(session: Session, attempt_id: int, batch: OfferBatch, now: float) -> Offered:
    """More work in a round that was begun, or beside the rounds; evaluations for a committed one's scores."""
    attempt, run = require_current_attempt(session, attempt_id)
    of_coalitions = [is_coalition_kind(one.kind) for one in batch.offers]
    if batch.round is not None and of_coalitions and all(of_coalitions):
        client_evaluations.require_awaited(session, run, batch.round)
    elif batch.round is not None:
        row = _require_begun(session, attempt, run, batch.round)
        row.begun_from = row.begun_from or batch.model
    return offer(session, attempt, run, batch, now)


def _require_begun(session: Session, attempt: AttemptRow, run: RunRow, number: int) -> RoundRow:
    row = session.get(RoundRow, (run.id, number))
    if row is None or row.attempt != attempt.number or row.committed_at is not None:
        raise Conflict(f"attempt {attempt.number} has not begun round {number} of run {run.id}")
    return row


def cancel_offers(session: Session, attempt_id: int, body: CancelRequest, now: float) -> None:
    """End open assignments of an attempt's run, as expired."""
    _, run = require_current_attempt(session, attempt_id)
    where = assignments.assignments_of_run(run.id, body.round)
    if body.ids is not None:
        where.append(AssignmentRow.id.in_(body.ids))
    elif body.round is None:
        raise Invalid("which assignments are to be cancelled: give their ids, or a round")
    expired = AssignmentStatus.EXPIRED
    assignments.cancel_assignments(session, where, body.reason, now, new=expired, delivered=True)


def _select(
    session: Session, attempt: AttemptRow, row: RoundRow, body: RoundBegin, now: float
) -> None:
    """The round's clients are those of ``body``; they are asked to train."""
    ids = device_ids(session, list(body.selected))
    same = (
        ParticipationRow.run_id == row.run_id,
        ParticipationRow.round == row.round,
        ParticipationRow.attempt == attempt.number,
    )
    session.execute(delete(ParticipationRow).where(*same))
    for name, reason in sorted(body.selected.items()):
        session.add(
            ParticipationRow(
                run_id=row.run_id,
                round=row.round,
                attempt=attempt.number,
                device_id=ids[name],
                status=ParticipationStatus.SELECTED,
                selection=reason,
                metrics={},
            )
        )
    round_pictures.place_devices(session, row.run_id, ids.values())


def _keep_decisions(
    session: Session, attempt: AttemptRow, row: RoundRow, body: RoundBegin, now: float
) -> None:
    """Why each candidate was chosen just now, or was not. Nobody is chosen anew in a round taken over."""
    if not body.decisions:
        return
    key = (row.run_id, row.round, attempt.number, body.retry)
    kept = session.get(SelectionRow, key)
    if kept is None:
        kept = SelectionRow(
            run_id=row.run_id, round=row.round, attempt=attempt.number, retry=body.retry
        )
        session.add(kept)
    kept.at, kept.decisions = now, [one.model_dump(mode="json") for one in body.decisions]


def _require_next(run: RunRow, number: int) -> None:
    if number != run.committed_rounds + 1:
        raise Conflict(
            f"run {run.id} has {run.committed_rounds} committed rounds of {run.rounds}: "
            f"the next is {run.committed_rounds + 1}, not {number}"
        )
    if number > run.rounds:
        raise Conflict(f"run {run.id} has all its {run.rounds} rounds")


# --- commit ----------------------------------------------------------------------------------


def is_committed(session: Session, attempt_id: int, number: int) -> bool:
    """Whether a round of an attempt's run counts already."""
    _, run = require_current_attempt(session, attempt_id)
    return number <= run.committed_rounds


def commit_round(session: Session, attempt_id: int, body: RoundCommit, now: float) -> CommitReply:
    """Count a round. The same commit again is harmless; another one for the same round is refused."""
    attempt, run = require_current_attempt(session, attempt_id)
    if body.round <= run.committed_rounds:
        _require_same(session, run, body)
        return CommitReply(command=command_for(run))
    _require_next(run, body.round)
    _require_all_trusted(session, body)
    blob_rows.require_blob(session, body.model, "model")
    if body.strategy_state is not None:
        blob_rows.require_blob(session, body.strategy_state, "strategy state")
    row = session.get(RoundRow, (run.id, body.round))
    if row is None or row.attempt != attempt.number:
        raise Conflict(f"attempt {attempt.number} did not begin round {body.round} of run {run.id}")
    _count(session, run, body)
    _fill(row, body, now)
    round_scores.plan_scores(session, run, body)
    _keep_client_metrics(session, run, body, now)
    _participate(session, attempt, run, body, now)
    round_pictures.keep_picture(session, row, now)
    _keep_metrics(session, run, body, now)
    _end_work(session, run, body, now)
    _log(session, attempt, run, body, now)
    return CommitReply(command=command_for(run))


def _require_all_trusted(session: Session, body: RoundCommit) -> None:
    """An update of a device that was revoked or quarantined while the engine aggregated it must not count.

    ``AttemptSuperseded``: the next attempt aggregates the others' updates, which stay delivered.
    """
    took = [p.device for p in body.participations if p.status is ParticipationStatus.REPLIED]
    query = select(DeviceRow.name, DeviceRow.enrolment).where(
        DeviceRow.name.in_(took), DeviceRow.enrolment.in_(ENROLMENT_DISTRUSTED)
    )
    if out := sorted(f"{name} was {how.value}" for name, how in session.execute(query)):
        raise AttemptSuperseded(
            f"{', '.join(out)} while round {body.round} was aggregated: "
            "another attempt aggregates it without that update"
        )


def _end_work(session: Session, run: RunRow, body: RoundCommit, now: float) -> None:
    """What is in the round was taken. What was not delivered, or came too late, is not wanted any more."""
    where = assignments.assignments_of_run(run.id, body.round)
    took = [p.device for p in body.participations if p.status is ParticipationStatus.REPLIED]
    devices = AssignmentRow.device_id.in_(select(DeviceRow.id).where(DeviceRow.name.in_(took)))
    assignments.move_assignments(session, AssignmentStatus.CHECKED, [*where, devices], ended_at=now)
    reason, expired = "the round was committed without it", AssignmentStatus.EXPIRED
    assignments.cancel_assignments(session, where, reason, now, new=expired, delivered=True)


def _require_same(session: Session, run: RunRow, body: RoundCommit) -> None:
    done = session.get(RoundRow, (run.id, body.round))
    if done is None:
        raise Conflict(
            f"round {body.round} is of run {run.parent}, which run {run.id} goes on from"
        )
    if done.model != body.model:
        raise Conflict(
            f"round {body.round} of run {run.id} is committed with model {str(done.model)[:12]}, "
            f"not {body.model[:12]}: a committed round does not change"
        )


def _count(session: Session, run: RunRow, body: RoundCommit) -> None:
    """The compare-and-set that makes the round count."""
    new = [name for name in body.refused if name not in run.refused]
    counted = compare_and_set(
        session,
        run,
        "committed_rounds",
        body.round,
        metrics={**body.client_metrics, **body.metrics} or run.metrics,
        dataset=body.dataset or run.dataset,
        refused={**run.refused, **body.refused},
        lost_in_a_row=0,
    )
    if not counted:
        raise Conflict(f"round {body.round} of run {run.id} was committed at the same moment")
    query = select(DeviceRow.id).where(DeviceRow.name.in_(new))
    notify(session, *(DeviceChanged(device_id) for device_id in session.scalars(query)))


def _fill(row: RoundRow, body: RoundCommit, now: float) -> None:
    row.committed_at = now
    row.model, row.strategy_state = body.model, body.strategy_state
    row.seconds, row.overhead_seconds = body.seconds, body.overhead_seconds
    row.timing, row.metrics, row.train_metrics = body.timing, body.metrics, body.train_metrics


def _keep_client_metrics(session: Session, run: RunRow, body: RoundCommit, now: float) -> None:
    """The clients evaluated the model they received: it was made by the round before."""
    note_client_metrics(session, run, body.round - 1, body.client_metrics, now)


def note_client_metrics(
    session: Session, run: RunRow, number: int, values: dict[str, float], now: float
) -> None:
    """What the clients say of the model that round ``number`` made (0: the one the run began with)."""
    _add_metrics(session, run, number, "clients", values, now)
    row = session.get(RoundRow, (run.id, number))
    if row is not None:
        row.client_metrics = {**row.client_metrics, **values}


def _keep_metrics(session: Session, run: RunRow, body: RoundCommit, now: float) -> None:
    _add_metrics(session, run, body.round, "server", body.metrics, now)
    _add_metrics(session, run, body.round, "training", body.train_metrics, now)


def _add_metrics(
    session: Session,
    run: RunRow,
    number: int,
    source: str,
    values: dict[str, float],
    now: float,
    device_id: str | None = None,
) -> None:
    for name, value in values.items():
        session.add(
            MetricRow(
                run_id=run.id,
                round=number,
                device_id=device_id,
                source=source,
                name=name,
                value=value,
                at=now,
            )
        )


def _participate(
    session: Session, attempt: AttemptRow, run: RunRow, body: RoundCommit, now: float
) -> None:
    """What became of each client of the round."""
    same = (
        ParticipationRow.run_id == run.id,
        ParticipationRow.round == body.round,
        ParticipationRow.attempt == attempt.number,
    )
    chosen = {
        part.device_id: part for part in session.scalars(select(ParticipationRow).where(*same))
    }
    ids = device_ids(session, [report.device for report in body.participations])
    for report in body.participations:
        part = chosen.pop(ids[report.device], None)
        if part is None:
            raise Invalid(f"device '{report.device}' was not selected for round {body.round}")
        _report(part, report)
        metrics = part.metrics
        _add_metrics(session, run, body.round, "participation", metrics, now, part.device_id)
    out = not_approved(session, set(chosen))
    for part in chosen.values():
        part.status = ParticipationStatus.DROPPED
        part.reason = out.get(part.device_id, "the engine did not report on it")


def _report(part: ParticipationRow, report: ParticipationReport) -> None:
    part.status, part.reason = report.status, report.reason
    part.examples, part.seconds = report.examples, report.seconds
    part.bytes_up, part.metrics = report.bytes_up, dict(report.metrics)


def _log(session: Session, attempt: AttemptRow, run: RunRow, body: RoundCommit, now: float) -> None:
    replied = sum(p.status is ParticipationStatus.REPLIED for p in body.participations)
    text = f"{replied} of {len(body.participations)} replied, {body.seconds:.2f} s"
    subject = f"round {body.round} of run {run.id}"
    data = {"model": body.model, "metrics": body.metrics}
    event_log.append_event(
        session, now, engine_of(attempt), subject, "round.committed", text, run.id, **data
    )
    for part in body.participations:
        if part.status is not ParticipationStatus.REPLIED:
            what = f"{part.device} {part.status.value}: {part.reason or 'no reason given'}"
            event_log.append_event(
                session,
                now,
                engine_of(attempt),
                subject,
                f"client.{part.status.value}",
                what,
                run.id,
            )
    for name in sorted(body.refused):
        what = f"{name}: {body.refused[name]}"
        event_log.append_event(
            session, now, engine_of(attempt), subject, "client.refused", what, run.id
        )
