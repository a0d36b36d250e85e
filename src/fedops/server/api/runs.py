"""Runs as operators start, watch and stop them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from fedops.core.contracts import MetricRead, RoundRead, RunRead, RunStart
from fedops.server import run_views, runs
from fedops.server.api.access import ADMIN, ERRORS, Named, NameFilter, RunId, Server
from fedops.server.api.routing import StrictRoute
from fedops.server.services import Services

router = APIRouter(tags=["runs"], dependencies=[ADMIN], route_class=StrictRoute, responses=ERRORS)
Limit = Annotated[int, Query(ge=1, le=1_000)]
MetricName = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


def _run(server: Services, run_id: int) -> RunRead:
    with server.db.read() as session:
        return run_views.get(session, run_id, server.settings, server.clock())


@router.post("/tasks/{task}/runs", status_code=201)
def start_run(task: Named, body: RunStart, server: Server) -> RunRead:
    """Start a run. A task has one active run at a time."""
    with server.db.write() as session:
        run_id = runs.start(session, task, body, server.clock())
    return _run(server, run_id)


@router.get("/runs")
def list_runs(server: Server, task: NameFilter = None, limit: Limit = 50) -> list[RunRead]:
    """Runs, newest first, of one task or all."""
    with server.db.read() as session:
        found = runs.ids(session, task, limit)
        return run_views.several(session, found, server.settings, server.clock())


@router.get("/runs/{run_id}")
def get_run(run_id: RunId, server: Server) -> RunRead:
    """One run, and why it is as it is."""
    return _run(server, run_id)


@router.post("/runs/{run_id}/stop")
def stop_run(run_id: RunId, server: Server) -> RunRead:
    """Stop a run. It is ``stopped`` once the engine and every device are quiet."""
    with server.db.write() as session:
        runs.request_stop(session, run_id, server.settings, server.clock())
    return _run(server, run_id)


@router.get("/runs/{run_id}/rounds")
def list_rounds(run_id: RunId, server: Server) -> list[RoundRead]:
    """The rounds of a run, with the part each device had in them."""
    with server.db.read() as session:
        return run_views.rounds(session, run_id)


@router.get("/runs/{run_id}/metrics")
def list_metrics(run_id: RunId, server: Server, name: MetricName = None) -> list[MetricRead]:
    """The numbers of a run, in the order they came."""
    with server.db.read() as session:
        return run_views.metrics(session, run_id, name)
