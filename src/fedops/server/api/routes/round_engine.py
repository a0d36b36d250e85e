"""What the round engine asks and reports, with the token of its attempt."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Response
from fastapi.concurrency import run_in_threadpool

from fedops.api_client import LONG_POLL_SECONDS
from fedops.core.contracts import (
    AttemptSpec,
    BlobHandover,
    BlobRef,
    CancelRequest,
    Candidates,
    Collected,
    CollectRequest,
    CommitReply,
    EngineFinish,
    EngineHello,
    EngineLogs,
    EngineProgress,
    ModelInit,
    OfferBatch,
    Offered,
    RoundBegin,
    RoundCommit,
    RoundScores,
)
from fedops.core.errors import Invalid
from fedops.failpoints import reached
from fedops.server.api.http.authentication import AttemptId, Server
from fedops.server.api.http.protocol_check import PROTOCOL_CHECKED
from fedops.server.api.http.routers import api_router
from fedops.server.contribution import round_scores
from fedops.server.database import blob_rows
from fedops.server.rounds import checkpoints, commits, engine_session, outcomes
from fedops.server.services.services import Services
from fedops.server.telemetry import log_store

router = api_router("engine", PROTOCOL_CHECKED, prefix="/engine")
RoundNumber = Annotated[int, Path(alias="round", ge=1, le=2**31 - 1)]
DONE = 204


@router.post("/hello")
def hello(body: EngineHello, attempt: AttemptId, server: Server) -> AttemptSpec:
    """The FL server is up. The answer is all it needs to execute or continue the run."""
    with server.db.read() as session:
        found = checkpoints.resume_points(session, attempt)
    damaged = checkpoints.find_damaged(server.artifacts, found)
    home, blobs = server.settings.engine_folder, blob_rows.folder(server.artifacts)
    if server.settings.engine_user is not None:
        blobs = None  # it does not get there
    with server.db.write() as session:
        checkpoints.fall_back_a_round(session, attempt, damaged, server.clock())
        spec = engine_session.start_attempt(session, attempt, body, home, server.clock(), blobs)
    reached("server.hello.committed")
    return spec


@router.post("/initial-model", status_code=DONE)
def initial_model(body: ModelInit, attempt: AttemptId, server: Server) -> Response:
    """Make an uploaded model the task's V0, unless it has one."""
    with server.db.write() as session:
        engine_session.initial_model(session, attempt, body, server.clock())
    return Response(status_code=DONE)


def _require_live(server: Services, attempt: int) -> None:
    with server.db.read() as session:
        engine_session.require_current_attempt(session, attempt, lock=False)


@router.get("/candidates")
def candidates(attempt: AttemptId, server: Server) -> Candidates:
    """The task's devices, each with its history in the run and why it cannot be invited, if so."""
    with server.db.read() as session:
        return engine_session.candidates(session, attempt, server.clock())


@router.post("/progress", status_code=DONE)
def progress(body: EngineProgress, attempt: AttemptId, server: Server) -> Response:
    """What the engine is doing."""
    with server.db.write(durable=False) as session:
        engine_session.progress(session, attempt, body, server.clock())
    return Response(status_code=DONE)


@router.post("/rounds/{round}/begin")
def begin_round(
    number: RoundNumber, body: RoundBegin, attempt: AttemptId, server: Server
) -> Offered:
    """The clients of a round are chosen, and their work is offered."""
    # Should a power cut lose it before anything was delivered, the round is begun again.
    with server.db.write(durable=False) as session:
        made = commits.begin_round(session, attempt, number, body, server.clock())
        reached("server.round.begin.inside")
    reached("server.round.begun")
    return made


@router.post("/offers")
def offer(body: OfferBatch, attempt: AttemptId, server: Server) -> Offered:
    """More work in a round that was begun, or beside the rounds."""
    with server.db.write(durable=False) as session:
        return commits.make_offers(session, attempt, body, server.clock())


@router.post("/collect")
async def collect(body: CollectRequest, attempt: AttemptId, server: Server) -> Collected:
    """Take the verdicts on what was collected; hand over what came since, as soon as there is anything."""
    await run_in_threadpool(_judge, server, attempt, body)
    page = await server.inboxes.collect(attempt, body.after, min(body.wait, LONG_POLL_SECONDS))
    server.pulse.heard(attempt)
    command = await run_in_threadpool(_command, server, attempt)
    return Collected(
        sequence=page.sequence,
        deliveries=page.deliveries,
        presence=page.presence,
        command=command,
    )


def _judge(server: Services, attempt: int, body: CollectRequest) -> None:
    if not body.checked and not body.rejected:
        _require_live(server, attempt)
        return
    with server.db.write(durable=False) as session:
        engine_session.note_verdicts(session, attempt, body, server.clock())


@router.post("/cancel", status_code=DONE)
def cancel(body: CancelRequest, attempt: AttemptId, server: Server) -> Response:
    """End open assignments: these, or all of a round."""
    with server.db.write() as session:
        commits.cancel_offers(session, attempt, body, server.clock())
    return Response(status_code=DONE)


@router.post("/blobs")
def hand_over(body: BlobHandover, attempt: AttemptId, server: Server) -> BlobRef:
    """Make a file of the attempt's spool folder a blob."""
    with server.db.read() as session:
        folder = engine_session.spool_of(session, attempt, server.settings.engine_folder)
    staged = server.artifacts.adopt(folder / body.name, body.sha256)
    reached("server.artifact.written")
    ref, now = staged.ref, server.clock()
    server.writer.call(lambda session: blob_rows.record_blob(session, ref, now), [staged])
    reached("server.artifact.recorded")
    return ref


@router.post("/rounds/{round}/commit")
def commit_round(
    number: RoundNumber, body: RoundCommit, attempt: AttemptId, server: Server
) -> CommitReply:
    """A finished round. It counts when this is answered with success, and only then."""
    if body.round != number:
        raise Invalid(f"the path says round {number}, the body round {body.round}")
    now = server.clock()
    reached("server.commit.before")
    with server.db.write() as session:
        repeated = commits.is_committed(session, attempt, number)
        reply = commits.commit_round(session, attempt, body, now)
        checkpoints.prune_checkpoints(session, attempt, server.settings.keep_checkpoints, now)
        reached("server.commit.inside")
    reached("server.commit.after")
    if not repeated:
        server.measures.round_committed(body.seconds)
    return reply


def _command(server: Services, attempt: int) -> engine_session.Command:
    with server.db.read() as session:
        return engine_session.current_command(session, attempt)


@router.post("/rounds/{round}/scores", status_code=DONE)
def scores(number: RoundNumber, body: RoundScores, attempt: AttemptId, server: Server) -> Response:
    """What the updates of a committed round were worth."""
    if body.round != number:
        raise Invalid(f"these are the scores of round {body.round}, not {number}")
    with server.db.write() as session:
        who, run = engine_session.require_current_attempt(session, attempt)
        round_scores.keep_scores(session, who, run, body, server.clock())
    reached("server.scores.committed")
    return Response(status_code=DONE)


@router.post("/logs", status_code=DONE)
def deliver_logs(body: EngineLogs, attempt: AttemptId, server: Server) -> Response:
    """What the FL server logged. Delivering it again is harmless."""
    with server.db.write(durable=False) as session:
        limit = server.settings.log_bytes
        log_store.engine_entries(session, attempt, body.entries, limit, server.clock())
    return Response(status_code=DONE)


@router.post("/finish", status_code=DONE)
def finish(body: EngineFinish, attempt: AttemptId, server: Server) -> Response:
    """The attempt ends by itself. ``completed`` makes the task's next global model version."""
    with server.db.write() as session:
        outcomes.finish_attempt(session, attempt, body, server.settings, server.clock())
        reached("server.finish.inside")
    reached("server.finish.after")
    return Response(status_code=DONE)
