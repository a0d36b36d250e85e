"""What the round engine asks and reports, with the token of its attempt."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from fedops.core.contracts import (
    ArtifactRef,
    AttemptSpec,
    Candidates,
    CommitReply,
    Digest,
    EngineFinish,
    EngineHello,
    EngineLogs,
    EngineProgress,
    ModelInit,
    Ring,
    RoundBegin,
    RoundCommit,
    Signals,
)
from fedops.core.errors import Invalid, NotFound, Unavailable
from fedops.failpoints import reached
from fedops.server import artifacts, checkpoints, engine_calls, finishes, logs, rounds
from fedops.server.api import transfer
from fedops.server.api.access import ERRORS, After, AttemptId, Server, Wait
from fedops.server.api.routing import StrictRoute
from fedops.server.services import Services

router = APIRouter(prefix="/engine", tags=["engine"], route_class=StrictRoute, responses=ERRORS)
RoundNumber = Annotated[int, Path(alias="round", ge=1, le=2**31 - 1)]
MessageId = Annotated[str, Path(max_length=200)]
DONE = 204


@router.post("/hello")
def hello(body: EngineHello, attempt: AttemptId, server: Server) -> AttemptSpec:
    """The ServerApp is up. The answer is all it needs to execute or continue the run."""
    with server.db.read() as session:
        found = checkpoints.to_resume_from(session, attempt)
    damaged = checkpoints.find_damaged(server.artifacts, found)
    with server.db.write() as session:
        checkpoints.step_back(session, attempt, damaged, server.clock())
        spec = engine_calls.hello(session, attempt, body, server.settings.home, server.clock())
    reached("server.hello.committed")
    return spec


@router.post("/initial-model", status_code=DONE)
def initial_model(body: ModelInit, attempt: AttemptId, server: Server) -> Response:
    """Make an uploaded model the task's V0, unless it has one."""
    with server.db.write() as session:
        engine_calls.initial_model(session, attempt, body, server.clock())
    return Response(status_code=DONE)


@router.put("/artifacts")
async def upload(request: Request, attempt: AttemptId, server: Server) -> ArtifactRef:
    """Upload a file. It is stored under the sha256 in the answer."""
    await run_in_threadpool(_require_live, server, attempt)
    ref = await transfer.receive(request, server.artifacts, server.settings.max_artifact_bytes)
    return await run_in_threadpool(_record, server, ref)


def _require_live(server: Services, attempt: int) -> None:
    with server.db.read() as session:
        engine_calls.fenced(session, attempt, lock=False)


def _record(server: Services, ref: ArtifactRef) -> ArtifactRef:
    reached("server.artifact.written")
    with server.db.write() as session:
        artifacts.record(session, ref, server.clock())
    reached("server.artifact.recorded")
    try:
        server.artifacts.path(ref.sha256)
    except NotFound:  # the same content was given up and removed in this very moment
        raise Unavailable(f"the file {ref.sha256[:12]} was not kept; upload it again") from None
    return ref


@router.get("/artifacts/{sha256}", response_class=FileResponse)
def download(sha256: Digest, attempt: AttemptId, server: Server) -> FileResponse:
    """A stored file."""
    return transfer.send(server.artifacts, sha256)


@router.get("/candidates")
def candidates(attempt: AttemptId, server: Server) -> Candidates:
    """The task's devices, each with its history in the run and why it cannot be invited, if so."""
    with server.db.read() as session:
        return engine_calls.candidates(session, attempt, server.settings, server.clock())


@router.post("/progress", status_code=DONE)
def progress(body: EngineProgress, attempt: AttemptId, server: Server) -> Response:
    """What the engine is doing."""
    with server.db.write(durable=False) as session:
        engine_calls.progress(session, attempt, body, server.clock())
    return Response(status_code=DONE)


@router.post("/rounds/{round}/begin", status_code=DONE)
def begin_round(
    number: RoundNumber, body: RoundBegin, attempt: AttemptId, server: Server
) -> Response:
    """The clients of a round are chosen."""
    with server.db.write() as session:
        rounds.begin(session, attempt, number, body, server.clock())
        reached("server.round.begin.inside")
    reached("server.round.begun")
    server.doorbell.allow_slots(attempt, body.upload_slots)
    return Response(status_code=DONE)


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
        reply = rounds.commit(session, attempt, body, now)
        checkpoints.retain(session, attempt, server.settings.keep_checkpoints, now)
        reached("server.commit.inside")
    reached("server.commit.after")
    return reply


@router.post("/ring", status_code=DONE)
async def ring(body: Ring, attempt: AttemptId, server: Server) -> Response:
    """There is a message for these nodes."""
    server.doorbell.ring(body.node_ids)
    return Response(status_code=DONE)


@router.get("/signals")
async def signals(attempt: AttemptId, server: Server, after: After = 0, wait: Wait = 0) -> Signals:
    """What the engine waits for, as soon as there is anything beyond ``after``."""
    await run_in_threadpool(_require_live, server, attempt)
    found = await server.doorbell.wait_signals(attempt, after, wait)
    command = await run_in_threadpool(_command, server, attempt)
    return Signals(signals=found, command=command)


def _command(server: Services, attempt: int) -> engine_calls.Command:
    with server.db.read() as session:
        return engine_calls.current_command(session, attempt)


@router.post("/pulled/{reply_to}", status_code=DONE)
async def pulled(reply_to: MessageId, attempt: AttemptId, server: Server) -> Response:
    """A reply is on the engine's disk: its upload slot is free."""
    server.doorbell.release_reply(attempt, reply_to)
    return Response(status_code=DONE)


@router.post("/logs", status_code=DONE)
def deliver_logs(body: EngineLogs, attempt: AttemptId, server: Server) -> Response:
    """What the ServerApp logged. Delivering it again is harmless."""
    with server.db.write(durable=False) as session:
        limit = server.settings.log_bytes
        logs.of_engine(session, attempt, body.entries, limit, server.clock())
    return Response(status_code=DONE)


@router.post("/finish", status_code=DONE)
def finish(body: EngineFinish, attempt: AttemptId, server: Server) -> Response:
    """The attempt ends by itself. ``completed`` makes the task's next global model version."""
    with server.db.write() as session:
        finishes.finish(session, attempt, body, server.settings, server.clock())
        reached("server.finish.inside")
    reached("server.finish.after")
    return Response(status_code=DONE)
