"""Runs as operators start, watch and control them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Path, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from fedops.core.contracts import (
    LogPage,
    LogSource,
    MetricRead,
    RoundRead,
    RunExtend,
    RunForecast,
    RunRead,
    RunRetry,
    RunStart,
)
from fedops.server.access.principal import Principal
from fedops.server.api.http import file_transfer
from fedops.server.api.http.authentication import (
    PERSON,
    After,
    Limit,
    Named,
    NameFilter,
    RunId,
    Server,
    Who,
)
from fedops.server.api.http.routers import api_router
from fedops.server.rounds import checkpoints
from fedops.server.runs import control, follow_up_runs, forecasts, views
from fedops.server.services.services import Services
from fedops.server.telemetry import log_store

router = api_router("runs", PERSON)
RoundNumber = Annotated[int, Path(alias="round", ge=1, le=2**31 - 1)]
RoundFilter = Annotated[int | None, Query(alias="round", ge=0, le=2**31 - 1)]
MetricName = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


def _run(server: Services, run_id: int, who: Principal) -> RunRead:
    with server.db.read() as session:
        return views.read_run(session, run_id, server.settings, server.clock(), who.tasks)


def _going(server: Services, run_id: int, who: Principal) -> RunRead:
    """A run that was just set going, with what will happen."""
    with server.db.read() as session:
        return views.read_planned(session, run_id, server.settings, server.clock(), who.tasks)


def _forecast(server: Services, task: str, body: RunStart) -> RunForecast:
    with server.db.read() as session:
        return forecasts.forecast_run(session, task, body, server.clock())


@router.post("/tasks/{task}/runs", status_code=201)
async def start_run(task: Named, body: RunStart, server: Server, who: Who) -> RunRead:
    """Start a run. A task has one active run at a time. Refuses what would be wrong on every device."""
    await server.require_sound(lambda s: control.plan_run(s, task, body, server.clock()))
    run_id = await server.change(lambda s: control.start_run(s, task, body, server.clock()))
    return await run_in_threadpool(_going, server, run_id, who)


@router.post("/tasks/{task}/runs/forecast")
async def forecast_run(task: Named, body: RunStart, server: Server) -> RunForecast:
    """What such a run would be: its devices, bytes, time and config. Nothing is started."""
    await server.require_sound(lambda s: forecasts.plan_forecast(s, task, body, server.clock()))
    return await run_in_threadpool(_forecast, server, task, body)


@router.get("/runs")
def list_runs(
    server: Server, who: Who, task: NameFilter = None, limit: Limit = 50
) -> list[RunRead]:
    """Runs, newest first, of one task or all."""
    with server.db.read() as session:
        found = control.run_ids(session, task, limit, who.tasks)
        return views.read_runs(session, found, server.settings, server.clock(), who.tasks)


@router.get("/runs/{run_id}")
def get_run(run_id: RunId, server: Server, who: Who) -> RunRead:
    """One run, and why it is as it is."""
    return _run(server, run_id, who)


@router.post("/runs/{run_id}/stop")
def stop_run(run_id: RunId, server: Server, who: Who) -> RunRead:
    """Stop a run. It is ``stopped`` once the engine and every device have stopped working for it."""
    with server.db.write() as session:
        control.request_stop(session, run_id, server.settings, server.clock())
    return _run(server, run_id, who)


@router.post("/runs/{run_id}/pause")
def pause_run(run_id: RunId, server: Server, who: Who) -> RunRead:
    """Pause a run. It is ``paused`` once the engine and every device have stopped; its rounds stay."""
    with server.db.write() as session:
        control.request_pause(session, run_id, server.settings, server.clock())
    return _run(server, run_id, who)


@router.post("/runs/{run_id}/resume")
def resume_run(run_id: RunId, server: Server, who: Who) -> RunRead:
    """Let a paused run continue, with the round that was open when it was paused."""
    with server.db.write() as session:
        control.request_resume(session, run_id, server.clock())
    return _going(server, run_id, who)


@router.post("/runs/{run_id}/extend", status_code=201)
async def extend_run(run_id: RunId, body: RunExtend, server: Server, who: Who) -> RunRead:
    """Add rounds to a run that is over: a new run, with that one as its parent."""
    now = server.clock()
    await server.require_sound(lambda s: follow_up_runs.plan_extension(s, run_id, body, now))
    run_id = await server.change(lambda s: follow_up_runs.extend(s, run_id, body, server.clock()))
    return await run_in_threadpool(_going, server, run_id, who)


@router.post("/runs/{run_id}/retry", status_code=201)
async def retry_run(
    run_id: RunId, server: Server, who: Who, body: Annotated[RunRetry | None, Body()] = None
) -> RunRead:
    """Do the rest of a run that failed or was stopped: a new run, with that one as its parent."""
    how, now = body or RunRetry(), server.clock()
    await server.require_sound(lambda s: follow_up_runs.plan_retry(s, run_id, how, now))
    run_id = await server.change(lambda s: follow_up_runs.retry(s, run_id, how, server.clock()))
    return await run_in_threadpool(_going, server, run_id, who)


@router.get("/runs/{run_id}/rounds")
def list_rounds(run_id: RunId, server: Server) -> list[RoundRead]:
    """The rounds of a run, with the part each device had in them."""
    with server.db.read() as session:
        return views.read_rounds(session, run_id)


@router.get("/runs/{run_id}/rounds/{round}/model", response_class=FileResponse)
def download_checkpoint(run_id: RunId, number: RoundNumber, server: Server) -> FileResponse:
    """The model that a round made, as safetensors, while it is kept."""
    with server.db.read() as session:
        ref = checkpoints.file_of(session, run_id, number)
    return file_transfer.send(
        server.artifacts, ref.sha256, f"run-{run_id}-round-{number}.safetensors"
    )


@router.get("/runs/{run_id}/metrics")
def list_metrics(
    run_id: RunId, server: Server, name: MetricName = None, after: After = 0
) -> list[MetricRead]:
    """The numbers of a run, in the order they came, a page at a time: go on with ``after`` = the last id."""
    with server.db.read() as session:
        return views.metrics(session, run_id, name, after)


@router.get("/runs/{run_id}/logs")
def run_logs(
    run_id: RunId,
    server: Server,
    device: NameFilter = None,
    number: RoundFilter = None,
    source: LogSource | None = None,
    after: After = 0,
    limit: Limit = 200,
) -> LogPage:
    """What FL server, Client Managers and training clients logged in a run, oldest first."""
    with server.db.read() as session:
        return log_store.run_logs(
            session,
            run_id,
            device=device,
            number=number,
            source=source,
            after=after,
            limit=limit,
        )
