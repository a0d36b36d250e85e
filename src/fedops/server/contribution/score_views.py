"""Contributions and selections as operators read them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, aliased

from fedops.core.contracts import (
    ClientScore,
    ClientStanding,
    ContributionsRead,
    RoundScoresRead,
    ScoringPlan,
    SelectionDecision,
    SelectionRead,
)
from fedops.core.states import RUN_TERMINAL
from fedops.server.database.lookup import require_run
from fedops.server.database.tables import RoundRow, RoundScoresRow, RunRow, SelectionRow
from fedops.server.tasks.tasks import require_task


def round_scores(
    session: Session, run_id: int, round_: int | None, limit: int
) -> list[RoundScoresRead]:
    """The scored rounds of a run, or one of them, the newest first."""
    ended = require_run(session, run_id).status in RUN_TERMINAL
    query = (
        select(RoundScoresRow, RoundRow.seconds, _run_share(run_id))
        .join(
            RoundRow,
            (RoundRow.run_id == RoundScoresRow.run_id) & (RoundRow.round == RoundScoresRow.round),
        )
        .where(RoundScoresRow.run_id == run_id)
        .order_by(RoundScoresRow.round.desc())
        .limit(limit)
    )
    if round_ is not None:
        query = query.where(RoundScoresRow.round == round_)
    return [_scores(ended, *found) for found in session.execute(query)]


def _run_share(run_id: int) -> ColumnElement[Any]:
    """What scoring the rounds took, until a round, of what they took themselves."""
    scored, rounds = aliased(RoundScoresRow), aliased(RoundRow)
    spent = select(func.sum(scored.seconds)).where(
        scored.run_id == run_id, scored.round <= RoundScoresRow.round
    )
    took = select(func.sum(rounds.seconds)).where(
        rounds.run_id == run_id, rounds.round <= RoundScoresRow.round
    )
    return spent.scalar_subquery() / func.nullif(took.scalar_subquery(), 0.0)


def _scores(
    ended: bool, row: RoundScoresRow, round_seconds: float | None, run_share: float | None
) -> RoundScoresRead:
    return RoundScoresRead(
        round=row.round,
        plan=ScoringPlan.model_validate(row.plan),
        scored_at=row.scored_at,
        run_ended=ended,
        method=row.method,
        evaluations=row.evaluations,
        examples=row.examples,
        seconds=row.seconds,
        share=row.seconds / round_seconds if round_seconds and row.scored_at else None,
        run_share=run_share if row.scored_at else None,
        note=row.note,
        scores=[ClientScore.model_validate(one) for one in row.scores],
    )


def contributions(session: Session, task: str) -> ContributionsRead:
    """All clients of a task's history, as of its newest scored round."""
    require_task(session, task)
    query = (
        select(RoundScoresRow)
        .join(RunRow, RunRow.id == RoundScoresRow.run_id)
        .where(RunRow.task == task, RoundScoresRow.scored_at.is_not(None))
        .order_by(RoundScoresRow.run_id.desc(), RoundScoresRow.round.desc())
        .limit(1)
    )
    return _standings(task, session.scalar(query))


def standings_of(
    session: Session, task: str, devices: Collection[str]
) -> dict[str, ClientStanding]:
    """Those of these devices (by name) that a task's newest scored round knows of, as they stand."""
    query = (
        select(RoundScoresRow.standings)
        .join(RunRow, RunRow.id == RoundScoresRow.run_id)
        .where(RunRow.task == task, RoundScoresRow.scored_at.is_not(None))
        .order_by(RoundScoresRow.run_id.desc(), RoundScoresRow.round.desc())
        .limit(1)
    )
    found = session.scalars(query).first() or []
    read = [ClientStanding.model_validate(one) for one in found if one["device"] in devices]
    return {one.device: one for one in read}


def _standings(task: str, row: RoundScoresRow | None) -> ContributionsRead:
    clients = [ClientStanding.model_validate(one) for one in row.standings] if row else []
    return ContributionsRead(
        task=task,
        run_id=row.run_id if row else None,
        round=row.round if row else None,
        basis=_basis(row) if row else {},
        clients=sorted(clients, key=lambda one: -one.value),
    )


def _basis(row: RoundScoresRow) -> dict[str, str]:
    metric = (row.history or {}).get("metric")
    return {**row.basis, **({"metric": metric} if metric else {})}


def newest_scored(
    session: Session, task: str | None, within: frozenset[str] | None = None
) -> int | None:
    """The newest run with a scored round, of one task or all (or all within these)."""
    query = (
        select(RoundScoresRow.run_id)
        .join(RunRow, RunRow.id == RoundScoresRow.run_id)
        .where(RoundScoresRow.scored_at.is_not(None))
        .order_by(RoundScoresRow.run_id.desc())
        .limit(1)
    )
    if task is not None:
        query = query.where(RunRow.task == task)
    if within is not None:
        query = query.where(RunRow.task.in_(within))
    return session.scalar(query)


def values_by_round(
    session: Session, run_id: int, devices: Collection[str], rounds: int
) -> dict[int, dict[str, float | None]]:
    """What the updates of these devices were worth in a run's newest scored rounds, by round, ascending."""
    query = (
        select(RoundScoresRow.round, RoundScoresRow.scores)
        .where(RoundScoresRow.run_id == run_id, RoundScoresRow.scored_at.is_not(None))
        .order_by(RoundScoresRow.round.desc())
        .limit(rounds)
    )
    found = [
        (number, {one["device"]: one.get("value") for one in scores if one["device"] in devices})
        for number, scores in session.execute(query)
    ]
    return dict(reversed(found))


def standings_after(session: Session, run_id: int) -> ContributionsRead:
    """All clients of a run's task as they stood after its newest scored round."""
    run = require_run(session, run_id)
    query = (
        select(RoundScoresRow)
        .where(RoundScoresRow.run_id == run_id, RoundScoresRow.scored_at.is_not(None))
        .order_by(RoundScoresRow.round.desc())
        .limit(1)
    )
    return _standings(run.task, session.scalar(query))


def selections(
    session: Session, run_id: int, round_: int | None, limit: int
) -> list[SelectionRead]:
    """Whom the rounds of a run chose, each try of it, the newest first."""
    require_run(session, run_id)
    row = SelectionRow
    query = (
        select(row)
        .where(row.run_id == run_id)
        .order_by(row.round.desc(), row.attempt.desc(), row.retry.desc())
        .limit(limit)
    )
    if round_ is not None:
        query = query.where(row.round == round_)
    return [
        SelectionRead(
            round=one.round,
            attempt=one.attempt,
            retry=one.retry,
            at=one.at,
            decisions=[SelectionDecision.model_validate(each) for each in one.decisions],
        )
        for one in session.scalars(query)
    ]
