"""What the updates of rounds were worth: planned with a commit, stored when an engine has found it."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import (
    BlobRef,
    ClientStanding,
    ContributionState,
    KnownStandings,
    RoundCommit,
    RoundScores,
    ScoringPlan,
    UnscoredRound,
)
from fedops.core.contracts.training import TRAIN
from fedops.core.errors import Conflict
from fedops.core.states import AssignmentStatus, ParticipationStatus
from fedops.server.assignments import assignments
from fedops.server.contribution import client_evaluations
from fedops.server.database.tables import (
    ArtifactRow,
    AssignmentRow,
    AttemptRow,
    DeviceRow,
    ModelVersionRow,
    ParticipationRow,
    RoundRow,
    RoundScoresRow,
    RunRow,
)
from fedops.server.events import event_log
from fedops.server.runs.attempts import engine_of

#: Of so many newest scored rounds of a run all is kept: a selection goes by the scores of two rounds before.
KEPT = 3
#: By how many rounds the scores are older that a selection goes by.
LATER = 2


def plan_scores(session: Session, run: RunRow, body: RoundCommit) -> None:
    """The commit says how the round's updates are going to be scored."""
    if body.scoring is None:
        return
    session.add(
        RoundScoresRow(
            run_id=run.id,
            round=body.round,
            plan=body.scoring.model_dump(mode="json"),
            note="",
            basis={},
            scores=[],
            standings=[],
        )
    )


def keep_scores(
    session: Session, attempt: AttemptRow, run: RunRow, body: RoundScores, now: float
) -> None:
    """Store the scores of a round. Those that are there stay: the same plan gave them.

    ``Conflict``: no commit planned them.
    """
    row = session.get(RoundScoresRow, (run.id, body.round))
    if row is None:
        raise Conflict(f"round {body.round} of run {run.id} is not to be scored")
    if row.scored_at is not None:
        return
    plain = body.model_dump(mode="json")
    row.scored_at = now
    row.method, row.evaluations, row.examples = body.method, body.evaluations, body.examples
    row.seconds, row.note, row.basis = body.seconds, body.note, body.basis
    row.scores, row.standings, row.history = plain["scores"], plain["standings"], body.history
    session.flush()
    client_evaluations.end(session, run, body.round, now)
    _forget_histories(session, run, body.round)
    _log(session, attempt, run, body, now)


def _forget_histories(session: Session, run: RunRow, round_: int) -> None:
    """Only the newest rounds are gone on from, or what the run before came to, from its first one on."""
    before = _run_before(session, run)
    runs = select(RunRow.id).where(RunRow.task == run.task, RunRow.id < (before or run.id))
    row = RoundScoresRow
    older = (row.run_id == run.id) & (row.round <= round_ - KEPT) | row.run_id.in_(runs)
    session.execute(
        update(row).where(older, row.history.is_not(None)).values(history=None),
        execution_options={"synchronize_session": False},
    )


def _log(session: Session, attempt: AttemptRow, run: RunRow, body: RoundScores, now: float) -> None:
    how = "directions only" if body.scores else "no scores"
    if body.method:
        how = f"{body.method} with {body.evaluations} evaluations"
    found = [
        f"{one.device}: {f.kind} ({f.evidence})" for one in body.standings for f in one.findings
    ]
    text = "; ".join(filter(None, [f"{how}, {body.seconds:.1f} s", body.note, *found]))[:2_000]
    subject = f"round {body.round} of run {run.id}"
    event_log.append_event(session, now, engine_of(attempt), subject, "round.scored", text, run.id)


# --- for the next attempt ----------------------------------------------------------------------


def contribution_state(session: Session, run: RunRow) -> ContributionState:
    """Where the scoring of a run's rounds stands: what the task's last run came to, then its own.

    A run that makes a version again goes by what was known when that was made.
    """
    remade = (run.rebuilds or {}).get("of_run")
    own = _scored(session, remade or run.id, until=run.committed_rounds if remade else None)
    before = [] if remade else _scored(session, _run_before(session, run), newest=1)
    rows = [*before, *own]
    return ContributionState(
        basis=rows[-1].basis if rows else {},
        history=(rows[-1].history or {}) if rows else {},
        known=[
            *(_known(row, run.first_round - LATER) for row in before),
            *(_known(row, row.round) for row in own),
        ],
        previous=_model_of(session, run, run.committed_rounds - 1),
        unscored=[_unscored(session, run, row) for row in _open(session, run.id)],
    )


def _scored(
    session: Session, run_id: int | None, newest: int = KEPT, until: int | None = None
) -> list[RoundScoresRow]:
    """The newest rounds that are scored, the oldest first."""
    row = RoundScoresRow
    query = (
        select(row)
        .where(row.run_id == run_id, row.scored_at.is_not(None))
        .order_by(row.round.desc())
        .limit(newest)
    )
    if until is not None:
        query = query.where(row.round <= until)
    return list(session.scalars(query))[::-1]


def _run_before(session: Session, run: RunRow) -> int | None:
    """The last run of the task before this one that was scored."""
    row = RoundScoresRow
    query = (
        select(row.run_id)
        .join(RunRow, RunRow.id == row.run_id)
        .where(RunRow.task == run.task, RunRow.id < run.id, row.scored_at.is_not(None))
        .order_by(row.run_id.desc())
        .limit(1)
    )
    return session.scalar(query)


def _known(row: RoundScoresRow, round_: int) -> KnownStandings:
    standings = [ClientStanding.model_validate(one) for one in row.standings]
    return KnownStandings(round=round_, standings=standings)


def _open(session: Session, run_id: int) -> list[RoundScoresRow]:
    row = RoundScoresRow
    query = select(row).where(row.run_id == run_id, row.scored_at.is_(None)).order_by(row.round)
    return list(session.scalars(query))


def _unscored(session: Session, run: RunRow, row: RoundScoresRow) -> UnscoredRound:
    examples = _examples(session, run, row.round)
    query = (
        select(AssignmentRow)
        .join(DeviceRow, DeviceRow.id == AssignmentRow.device_id)
        .where(*assignments.assignments_of_run(run.id, row.round))
        .where(AssignmentRow.kind == TRAIN, AssignmentRow.status == AssignmentStatus.CHECKED)
        .order_by(AssignmentRow.retry)
    )
    found = assignments.deliveries(session, session.scalars(query).all())
    last = {one.device: one for one in found if one.device in examples}
    return UnscoredRound(
        round=row.round,
        plan=ScoringPlan.model_validate(row.plan),
        before=_model_of(session, run, row.round - 1),
        previous=_model_of(session, run, row.round - 2),
        deliveries=list(last.values()) if last.keys() == examples.keys() else [],
        examples=examples,
        evaluations=client_evaluations.over(session, run, row.round),
    )


def _examples(session: Session, run: RunRow, round_: int) -> dict[str, int]:
    """Of those whose update is in the round."""
    part = ParticipationRow
    query = (
        select(DeviceRow.name, part.examples)
        .join(DeviceRow, DeviceRow.id == part.device_id)
        .join(RoundRow, (RoundRow.run_id == part.run_id) & (RoundRow.round == part.round))
        .where(part.run_id == run.id, part.round == round_, part.attempt == RoundRow.attempt)
        .where(part.status == ParticipationStatus.REPLIED)
    )
    return {name: examples for name, examples in session.execute(query) if examples}


def _model_of(session: Session, run: RunRow, round_: int) -> BlobRef | None:
    """The model that a round made, before the first the one that the run began with; None: it is gone."""
    if round_ >= run.first_round:
        row = session.get(RoundRow, (run.id, round_))
        sha256 = row.model if row is not None and row.pruned_at is None else None
    else:
        sha256 = _start_of(session, run) if round_ == run.first_round - 1 else None
    found = session.get(ArtifactRow, sha256) if sha256 else None
    if found is None or found.removed_at is not None:
        return None
    return BlobRef(sha256=found.sha256, size=found.size)


def _start_of(session: Session, run: RunRow) -> str | None:
    if run.start_model is not None or run.from_version is None:
        return run.start_model
    return session.get_one(ModelVersionRow, (run.task, run.from_version)).sha256
