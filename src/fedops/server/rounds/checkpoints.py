"""The checkpoints of a run's rounds: which are kept, what becomes of the rest, and of damaged ones.

Of each run the newest are kept, and the best one. A file goes only when nothing else needs it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, func, or_, select
from sqlalchemy.orm import Session

from fedops.core.contracts import BlobRef
from fedops.core.errors import NotFound
from fedops.core.states import ASSIGNMENT_OPEN
from fedops.server.database import blob_rows
from fedops.server.database.compare_and_set import compare_and_set
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import (
    ArtifactRow,
    AssignmentRow,
    AttemptRow,
    BundleRow,
    CommitRow,
    InstructionRow,
    MetricRow,
    ModelVersionRow,
    PackagesRow,
    RemovalRow,
    RoundRow,
    RoundScoresRow,
    RunRow,
)
from fedops.server.events import event_log
from fedops.server.rounds.engine_session import require_current_attempt
from fedops.storage.blobs import BlobStore
from fedops.storage.payloads import blobs_of

#: A file that was just uploaded again is about to be used: it stays for this long at least. Seconds.
RENEWED_SECONDS = 600.0
#: A file that nothing was made of in this time is not wanted. Seconds.
ORPHAN_SECONDS = 3_600.0
_REMOVALS = 500


# --- which are kept --------------------------------------------------------------------------


def prune_checkpoints(session: Session, attempt_id: int, keep: int, now: float) -> None:
    """Give up the checkpoints of an attempt's run that are neither among the newest nor the best."""
    run_id = session.get_one(AttemptRow, attempt_id).run_id
    query = (
        select(RoundRow)
        .where(RoundRow.run_id == run_id, RoundRow.pruned_at.is_(None))
        .where(RoundRow.committed_at.is_not(None))
        .order_by(RoundRow.round.desc())
    )
    rows = list(session.scalars(query))
    best, needed = _best(rows), _first_to_score(session, run_id)
    for row in rows[keep:]:
        if row is not best and row.round < needed:
            row.pruned_at = now
            files = {sha256 for sha256 in (row.model, row.strategy_state) if sha256 is not None}
            blob_rows.give_up_blobs(session, files, now)


def _first_to_score(session: Session, run_id: int) -> float:
    """The first round whose model is needed to score rounds: those that two of them began with."""
    query = select(func.min(RoundScoresRow.round)).where(
        RoundScoresRow.run_id == run_id, RoundScoresRow.scored_at.is_(None)
    )
    first = session.scalar(query)
    return math.inf if first is None else first - 2


def _best(rows: Sequence[RoundRow]) -> RoundRow | None:
    """By accuracy, or where none is known by loss; of equals the newest. None when neither is known."""
    for name, sign in (("accuracy", 1.0), ("loss", -1.0)):
        known = [(row, sign * value) for row in rows if (value := _metric(row, name)) is not None]
        if known:
            return max(known, key=lambda pair: (pair[1], pair[0].round))[0]
    return None


def _metric(row: RoundRow, name: str) -> float | None:
    return row.metrics.get(name, row.client_metrics.get(name))


def file_of(session: Session, run_id: int, number: int) -> BlobRef:
    """The model that a round made. ``NotFound`` when it is not kept any more."""
    run = require_run(session, run_id)
    row = session.get(RoundRow, (run_id, number))
    if row is None or row.model is None:
        raise NotFound(
            f"run {run_id} has no round {number}: {run.committed_rounds} of {run.rounds} are committed"
        )
    if row.pruned_at is not None:
        raise NotFound(
            f"the checkpoint of round {number} of run {run_id} is not kept any more; 'fedops run show "
            f"{run_id} --json' tells which are"
        )
    return blob_rows.require_blob(session, row.model, "checkpoint")


# --- what becomes of the rest ----------------------------------------------------------------


def remove(session: Session, store: BlobStore, now: float) -> int:
    """Remove files that were given up and that nothing needs. Returns how many."""
    query = (
        select(ArtifactRow)
        .join(RemovalRow, RemovalRow.sha256 == ArtifactRow.sha256)
        .where(
            or_(ArtifactRow.renewed_at.is_(None), ArtifactRow.renewed_at < now - RENEWED_SECONDS)
        )
        .order_by(RemovalRow.since)
        .limit(_REMOVALS)
        .with_for_update()
    )
    rows = session.scalars(query).all()
    given_up = {row.sha256 for row in rows}
    needed = needed_files(session, given_up)
    for row in rows:
        if row.sha256 not in needed:
            row.removed_at = now
            store.remove(row.sha256)
    session.flush()
    session.execute(delete(RemovalRow).where(RemovalRow.sha256.in_(given_up)))
    return len(given_up - needed)


def has_removals(session: Session) -> bool:
    """Whether there is anything to remove."""
    return session.scalars(select(RemovalRow.sha256).limit(1)).first() is not None


def needed_files(session: Session, files: Collection[str]) -> set[str]:
    """Which of these files something needs."""
    found = {
        sha256
        for column, *when in _NEEDS
        for sha256 in session.scalars(select(column).where(column.in_(files), *when))
    }
    return found | ((_instructed(session) | _packaged(session)) & set(files))


_NEEDS: tuple[tuple[Any, ...], ...] = (
    (ModelVersionRow.sha256,),
    (ModelVersionRow.strategy_state,),
    (RoundRow.model, RoundRow.pruned_at.is_(None)),
    (RoundRow.strategy_state, RoundRow.pruned_at.is_(None)),
    (RunRow.start_model,),
    (RunRow.start_state,),
    (BundleRow.sha256,),
    (CommitRow.pack,),
    (AssignmentRow.blob, AssignmentRow.pruned_at.is_(None)),
    (AssignmentRow.model, AssignmentRow.status.in_(ASSIGNMENT_OPEN)),
)


def _instructed(session: Session) -> set[str]:
    """The blobs that open work names."""
    open_ = select(AssignmentRow.instruction).where(AssignmentRow.status.in_(ASSIGNMENT_OPEN))
    query = select(InstructionRow.content).where(InstructionRow.id.in_(open_))
    documents = [json.loads(content) for content in session.scalars(query)]
    return {blob.sha256 for document in documents for blob in blobs_of(document).values()}


def _packaged(session: Session) -> set[str]:
    """The wheels that environments are made of."""
    found = session.scalars(select(PackagesRow.packages))
    return {wheel["sha256"] for packages in found for wheel in packages.get("wheels", ())}


def give_up_orphans(session: Session, now: float) -> None:
    """Files that came an hour ago and that nothing was made of are not wanted."""
    before = now - ORPHAN_SECONDS
    seen = func.coalesce(ArtifactRow.renewed_at, ArtifactRow.created_at)
    query = select(ArtifactRow.sha256).where(ArtifactRow.removed_at.is_(None), seen < before)
    for column, *when in _NEEDS:
        query = query.where(~exists().where(column == ArtifactRow.sha256, *when))
    query = query.where(~exists().where(RemovalRow.sha256 == ArtifactRow.sha256))
    found = set(session.scalars(query.limit(_REMOVALS)))
    needed = _instructed(session) | _packaged(session)
    blob_rows.give_up_blobs(session, found - needed, now)


# --- damaged ones ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """What a round left for the next one to begin from."""

    round: int
    files: tuple[str, ...]
    kept: bool


def resume_points(session: Session, attempt_id: int) -> list[Checkpoint]:
    """The checkpoints of an attempt's run, the newest first."""
    run_id = session.get_one(AttemptRow, attempt_id).run_id
    query = (
        select(RoundRow)
        .where(RoundRow.run_id == run_id, RoundRow.committed_at.is_not(None))
        .order_by(RoundRow.round.desc())
    )
    return [
        Checkpoint(
            row.round,
            tuple(sha256 for sha256 in (row.model, row.strategy_state) if sha256 is not None),
            row.pruned_at is None,
        )
        for row in session.scalars(query)
    ]


def find_damaged(store: BlobStore, found: Sequence[Checkpoint]) -> dict[int, str]:
    """Of the newest rounds, those that cannot be gone on from, with the reason: up to the first that can."""
    damaged: dict[int, str] = {}
    for checkpoint in found:
        if not checkpoint.kept:
            damaged[checkpoint.round] = "it was not kept"
            continue
        problems = [p for sha256 in checkpoint.files if (p := store.check(sha256))]
        if not problems:
            break
        damaged[checkpoint.round] = problems[0]
    return damaged


def fall_back_a_round(
    session: Session, attempt_id: int, damaged: dict[int, str], now: float
) -> None:
    """Have the rounds whose checkpoints are damaged done again, from the one before them."""
    if not damaged:
        return
    _, run = require_current_attempt(session, attempt_id)
    before, after = run.committed_rounds, min(damaged) - 1
    if before not in damaged:  # somebody was faster
        return
    earlier = session.get(RoundRow, (run.id, after))
    metrics = {**earlier.client_metrics, **earlier.metrics} if earlier else {}
    if not compare_and_set(session, run, "committed_rounds", after, metrics=metrics):
        return
    _forget(session, run, after)
    for number, problem in sorted(damaged.items(), reverse=True):
        subject = f"round {number} of run {run.id}"
        text = f"the checkpoint cannot be used: {problem}"
        event_log.append_event(
            session, now, event_log.SERVER, subject, "checkpoint.damaged", text, run.id
        )
    origin = f"round {after}" if after >= run.first_round else "what the run began with"
    text = f"goes on from {origin}; rounds {after + 1} to {before} are done again"
    event_log.append_event(
        session,
        now,
        event_log.SERVER,
        f"run {run.id}",
        "run.stepped_back",
        text,
        run.id,
        before=before,
        after=after,
    )


def _forget(session: Session, run: RunRow, after: int) -> None:
    """Take back what the rounds beyond ``after`` counted, so that it is not counted twice."""
    query = select(RoundRow).where(RoundRow.run_id == run.id, RoundRow.round > after)
    for row in session.scalars(query):
        row.committed_at = row.model = row.strategy_state = row.pruned_at = None
        row.seconds = row.overhead_seconds = None
        row.timing, row.metrics, row.client_metrics, row.train_metrics = {}, {}, {}, {}
    scored = (RoundScoresRow.run_id == run.id, RoundScoresRow.round > after)
    session.execute(delete(RoundScoresRow).where(*scored))
    ours = MetricRow.source.in_(("server", "training", "participation"))
    # What clients say of a model comes with the round after the one that made it.
    theirs = MetricRow.source == "clients"
    session.execute(
        delete(MetricRow)
        .where(MetricRow.run_id == run.id)
        .where(or_(ours & (MetricRow.round > after), theirs & (MetricRow.round >= after)))
    )
