"""What clients contributed, and whom rounds chose."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from fedops.core.contracts import ContributionsRead, RoundScoresRead, SelectionRead
from fedops.server.api.http.authentication import PERSON, Named, RunId, Server
from fedops.server.api.http.routers import api_router
from fedops.server.contribution import score_views

router = api_router("contributions", PERSON)
OneRound = Annotated[int | None, Query(alias="round", ge=1, le=2**31 - 1)]
Few = Annotated[int, Query(ge=1, le=1_000)]


@router.get("/tasks/{task}/contributions")
def task_contributions(task: Named, server: Server) -> ContributionsRead:
    """Each client over all scored rounds of a task: its value, its integrity, and what was found."""
    with server.db.read() as session:
        return score_views.contributions(session, task)


@router.get("/runs/{run_id}/contributions")
def run_contributions(
    run_id: RunId, server: Server, number: OneRound = None, limit: Few = 20
) -> list[RoundScoresRead]:
    """The scores of a run's rounds, the newest first."""
    with server.db.read() as session:
        return score_views.round_scores(session, run_id, number, limit)


@router.get("/runs/{run_id}/selections")
def run_selections(
    run_id: RunId, server: Server, number: OneRound = None, limit: Few = 10
) -> list[SelectionRead]:
    """Whom each try of a round chose, and why, and why not the others; the newest first."""
    with server.db.read() as session:
        return score_views.selections(session, run_id, number, limit)
