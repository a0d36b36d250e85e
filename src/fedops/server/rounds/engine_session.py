"""What the round engine of an attempt asks for and reports, beside its rounds.

Every call is fenced: only the run's current attempt, while it lives, is heard.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import (
    AttemptSpec,
    BlobRef,
    Candidate,
    Candidates,
    CollectRequest,
    EngineHello,
    EngineProgress,
    ModelInit,
    ParameterContract,
)
from fedops.core.errors import AttemptSuperseded, Conflict
from fedops.core.states import (
    ATTEMPT_LIVE,
    RUN_TRAINING,
    AssignmentStatus,
    AttemptStatus,
    ParticipationStatus,
    RunStatus,
)
from fedops.results.device_history import ROUNDS_AVERAGED, loss_of, usual_seconds
from fedops.server.assignments import assignments, bench_results, open_work
from fedops.server.contribution import round_scores
from fedops.server.database import blob_rows
from fedops.server.database.compare_and_set import compare_and_set
from fedops.server.database.tables import (
    ArtifactRow,
    AssignmentRow,
    AttemptRow,
    ModelVersionRow,
    ParticipationRow,
    RoundRow,
    RunRow,
)
from fedops.server.devices import availability
from fedops.server.devices.running_commits import running_other_code
from fedops.server.events.event_log import Change
from fedops.server.models import versions
from fedops.server.rounds import open_rounds
from fedops.server.runs.attempts import engine_of
from fedops.server.runs.transitions import transition_attempt, transition_run

Command = Literal["continue", "stop", "pause"]
#: The selector that needs no seconds of the rounds before.
_UNIFORM = "random"


def require_current_attempt(
    session: Session, attempt_id: int, *, lock: bool = True
) -> tuple[AttemptRow, RunRow]:
    """The attempt and its run. ``AttemptSuperseded`` when the attempt has no say any more.

    ``lock`` keeps the run from changing before the transaction ends, on databases with many writers.
    """
    attempt = session.get_one(AttemptRow, attempt_id)
    run = session.get_one(RunRow, attempt.run_id, with_for_update=True if lock else None)
    session.refresh(attempt)
    if attempt.status not in ATTEMPT_LIVE or run.current_attempt != attempt.number:
        how = (
            f"{attempt.status.value}: {attempt.reason}" if attempt.reason else attempt.status.value
        )
        raise AttemptSuperseded(
            f"attempt {attempt.number} of run {run.id} is over ({how}); "
            f"the run is {run.status.value}, its current attempt is {run.current_attempt}"
        )
    return attempt, run


def command_for(run: RunRow) -> Command:
    """Whether the engine may go on."""
    if run.status is RunStatus.PAUSING:
        return "pause"
    return "continue" if run.status in RUN_TRAINING else "stop"


def start_attempt(
    session: Session,
    attempt_id: int,
    body: EngineHello,
    home: Path,
    now: float,
    blobs: Path | None = None,
) -> AttemptSpec:
    """The FL server is up: the attempt runs, and so does the run. Repeatable.

    ``blobs``: the folder that the blobs are in, where there is one.
    """
    attempt, run = require_current_attempt(session, attempt_id)
    attempt.pid = body.pid
    attempt.environment = body.environment or None
    session.flush()
    me, why = engine_of(attempt), f"the FL server is up (process {body.pid})"
    why = f"{why}; {body.confined}" if body.confined else why
    transition_attempt(session, attempt, AttemptStatus.RUNNING, Change(me, why, now))
    if run.status in (RunStatus.STARTING, RunStatus.RESUMING):
        transition_run(session, run, RunStatus.RUNNING, Change(me, why, now))
    model, state = _start_from(session, run)
    begun = open_rounds.adopt(session, attempt, run, model.sha256 if model else None, now)
    spec = _spec(attempt, run, home)
    contribution = round_scores.contribution_state(session, run)
    found: dict[str, Any] = {
        "model": model,
        "strategy_state": state,
        "open_round": begun,
        "contribution": contribution,
    }
    if run.rebuilds is not None:
        found["replays"] = run.rebuilds.get("of_run")
    return spec.model_copy(update={**found, "blobs_dir": str(blobs) if blobs else None})


def _spec(attempt: AttemptRow, run: RunRow, home: Path) -> AttemptSpec:
    return AttemptSpec(
        run_id=run.id,
        attempt=attempt.number,
        task=run.task,
        seed=run.seed,
        config=run.config,
        rounds=run.rounds,
        next_round=run.committed_rounds + 1,
        first_round=run.first_round,
        model=None,
        strategy_state=None,
        contract=ParameterContract.model_validate(run.contract) if run.contract else None,
        dataset=run.dataset,
        refused=run.refused,
        spool_dir=str(spool_dir(home, run.id, attempt.number)),
    )


def spools(home: Path) -> Path:
    """Where all attempts do."""
    return home / "spool"


def spool_dir(home: Path, run_id: int, attempt: int) -> Path:
    """Where an attempt keeps the updates of its round."""
    return spools(home) / f"run-{run_id}" / f"attempt-{attempt}"


def _start_from(session: Session, run: RunRow) -> tuple[BlobRef | None, BlobRef | None]:
    """The model to go on with, and the strategy's state: the last round's, its parent's, a version's."""
    if run.committed_rounds >= run.first_round:
        last = session.get_one(RoundRow, (run.id, run.committed_rounds))
        return _ref(session, last.model), _ref(session, last.strategy_state)
    if run.start_model is not None:
        return _ref(session, run.start_model), _ref(session, run.start_state)
    if run.from_version is None:
        return None, None
    version = session.get_one(ModelVersionRow, (run.task, run.from_version))
    return _ref(session, version.sha256), None


def _ref(session: Session, sha256: str | None) -> BlobRef | None:
    row = session.get(ArtifactRow, sha256) if sha256 else None
    return BlobRef(sha256=row.sha256, size=row.size) if row else None


def initial_model(session: Session, attempt_id: int, body: ModelInit, now: float) -> None:
    """V0, made by the engine from the seed, unless the task has it. Repeatable with the same model.

    A run that was started from a new model may have another one, which is its own.
    """
    attempt, run = require_current_attempt(session, attempt_id)
    first = session.get(ModelVersionRow, (run.task, 0))
    if first is not None and run.new_model and first.sha256 != body.model:
        blob_rows.require_blob(session, body.model, "initial model")
        contract = body.contract.model_dump(mode="json")
        compare_and_set(session, run, "start_model", body.model, contract=contract)
        return
    if first is None:
        first = _create_first(session, attempt, run, body, now)
    elif first.sha256 != body.model:
        theirs = ParameterContract.model_validate(first.contract)
        lines = theirs.differences(body.contract) or ["the same tensors with other values"]
        raise Conflict(f"task '{run.task}' has another initial model V0: {'; '.join(lines)}")
    if run.from_version is None:
        compare_and_set(session, run, "from_version", 0, contract=first.contract)


def _create_first(
    session: Session, attempt: AttemptRow, run: RunRow, body: ModelInit, now: float
) -> ModelVersionRow:
    blob_rows.require_blob(session, body.model, "initial model")
    lineage: dict[str, Any] = {
        "seed": run.seed,
        "bundle": run.bundle,
        "fingerprint": body.contract.fingerprint,
    }
    return versions.create_version(
        session,
        run.task,
        now,
        engine_of(attempt),
        run_id=run.id,
        round=0,
        parent=None,
        sha256=body.model,
        strategy_state=None,
        contract=body.contract.model_dump(mode="json"),
        metrics={},
        lineage=lineage,
    )


# --- candidates and progress -----------------------------------------------------------------


def candidates(session: Session, attempt_id: int, now: float) -> Candidates:
    """The task's devices, by name: each with its history in this run, and why it cannot be invited."""
    _, run = require_current_attempt(session, attempt_id, lock=False)
    history, busy = _history(session, run), open_work.busy_with(session, run.id)
    benches = bench_results.bench_seconds(session, run.task) if _asks_for_seconds(run) else {}
    other_code = running_other_code(session, run)
    found = [
        Candidate(
            device=row.name,
            node_id=str(row.node_number),
            unavailable=availability.unavailable_because(
                row, run.task, run.refused, now, run.devices
            )
            or other_code.get(row.name),
            evaluates_only=availability.evaluates_only(row),
            examples=availability.training_examples(row),
            busy_with=busy.get(row.id),
            idle_seconds=0.0 if row.id in busy else availability.idle_seconds(row, now),
            bench_seconds=benches.get(row.id),
            **history.get(row.id, {}),
        )
        for row in availability.task_devices(session, run.task)
    ]
    return Candidates(command=command_for(run), candidates=found)


def _history(session: Session, run: RunRow) -> dict[str, dict[str, Any]]:
    """What each device has done in a run, by its id: counted in the database, however long the run is."""
    part, replied = ParticipationRow, ParticipationRow.status == ParticipationStatus.REPLIED
    counts = (
        select(
            part.device_id,
            func.count().label("invited"),
            func.max(part.round).label("last_invited"),
            func.count().filter(replied).label("taken"),
            func.max(case((replied, part.round))).label("last"),
        )
        .join(RoundRow, _of_committed_round())
        .where(part.run_id == run.id)
        .group_by(part.device_id)
        .subquery()
    )
    last = (part.device_id == counts.c.device_id) & (part.round == counts.c.last)
    query = (
        select(counts, part.metrics)
        .outerjoin(part, last & (part.run_id == run.id) & replied)
        .order_by(part.attempt)
    )
    seconds = _seconds(session, run)
    return {
        device_id: {
            "rounds_invited": invited,
            "last_invited": last_invited,
            "rounds_taken": taken,
            "last_round": last,
            "last_loss": loss_of(metrics or {}),
            **_times(seconds.get(device_id, [])),
        }
        for device_id, invited, last_invited, taken, last, metrics in session.execute(query)
    }


def _times(rounds: list[tuple[float, bool]]) -> dict[str, float | None]:
    """What a candidate's last rounds, the oldest first, tell of its speed."""
    last = next((took for took, replied in reversed(rounds) if replied), None)
    return {"last_seconds": last, "round_seconds": usual_seconds(rounds)}


def _of_committed_round() -> ColumnElement[bool]:
    """Joins a participation to its round, where that was committed with it."""
    same_round = (RoundRow.run_id == ParticipationRow.run_id) & (
        RoundRow.round == ParticipationRow.round
    )
    counts = (RoundRow.attempt == ParticipationRow.attempt) & RoundRow.committed_at.is_not(None)
    return same_round & counts


def _asks_for_seconds(run: RunRow) -> bool:
    """Whether the run's selector may."""
    chosen = run.config.get("server", {}).get("selection", {})
    return bool(chosen.get("selector", _UNIFORM) != _UNIFORM)


def _seconds(session: Session, run: RunRow) -> dict[str, list[tuple[float, bool]]]:
    """How long its last rounds took each device, by its id, the oldest first, and whether it replied.

    By the server's clock: from the offer until the result was here, or until it was given up, and then at
    least as long as the slowest of the round's replies. {}: no selector asks for it.
    """
    if not _asks_for_seconds(run):
        return {}
    rounds = _last_rounds(session, run.id)
    work = _work_times(session, run.id, min((number for _, number, _ in rounds), default=0))
    slowest: dict[int, float] = {}
    for (_, number), (_, counted) in work.items():
        slowest[number] = max(slowest.get(number, 0.0), counted or 0.0)
    found: dict[str, list[tuple[float, bool]]] = {}
    for device_id, number, status in rounds:
        if (device_id, number) in work:
            held, counted = work[device_id, number]
            replied = status is ParticipationStatus.REPLIED
            took = (counted or held) if replied else max(held, slowest[number])
            found.setdefault(device_id, []).append((took, replied))
    return found


def _last_rounds(session: Session, run_id: int) -> list[tuple[str, int, ParticipationStatus]]:
    """The last rounds that each device was invited to, the oldest first, and what became of it."""
    part = ParticipationRow
    newest = func.row_number().over(partition_by=part.device_id, order_by=part.round.desc())
    numbered = (
        select(part.device_id, part.round, part.status, newest.label("newest"))
        .join(RoundRow, _of_committed_round())
        .where(part.run_id == run_id)
        .subquery()
    )
    found = numbered.c
    query = select(found.device_id, found.round, found.status).order_by(found.round)
    return [tuple(row) for row in session.execute(query.where(found.newest <= ROUNDS_AVERAGED))]


def _work_times(
    session: Session, run_id: int, since: int
) -> dict[tuple[str, int], tuple[float, float | None]]:
    """Device and round -> how long it had the work of it, and how long it took if its result counted."""
    work = AssignmentRow
    counted = case((work.status == AssignmentStatus.CHECKED, work.delivered_at - work.offered_at))
    until = func.coalesce(work.delivered_at, work.ended_at)
    query = (
        select(work.device_id, work.round, func.max(until - work.offered_at), func.max(counted))
        .where(work.run_id == run_id, work.round >= since, until.is_not(None))
        .where(~open_work.FOR_SCORES)
        .group_by(work.device_id, work.round)
    )
    return {
        (device_id, number or 0): (held, took)
        for device_id, number, held, took in session.execute(query)
    }


def progress(session: Session, attempt_id: int, body: EngineProgress, now: float) -> None:
    """What the engine is doing, for ``why`` and the live views."""
    attempt, _ = require_current_attempt(session, attempt_id, lock=False)
    before = attempt.progress or {}
    same = (before.get("phase"), before.get("round")) == (body.phase, body.round)
    attempt.progress = body.model_dump(mode="json")
    attempt.progress_at = attempt.progress_at if same else now


def note_verdicts(session: Session, attempt_id: int, body: CollectRequest, now: float) -> None:
    """The engine's verdicts on results it collected. Repeating is harmless."""
    _, run = require_current_attempt(session, attempt_id)
    assignments.judge_results(session, run.id, body.checked, body.rejected, now)


def spool_of(session: Session, attempt_id: int, home: Path) -> Path:
    """The spool folder of an attempt that lives."""
    attempt, run = require_current_attempt(session, attempt_id, lock=False)
    return spool_dir(home, run.id, attempt.number)


def current_command(session: Session, attempt_id: int) -> Command:
    """Whether the engine of an attempt may go on. ``AttemptSuperseded`` when it is over."""
    return command_for(require_current_attempt(session, attempt_id, lock=False)[1])
