"""How an attempt ends by itself, and what becomes of its run: a new global model version, or not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import EngineFinish
from fedops.core.errors import Conflict
from fedops.core.states import AttemptStatus, FailureReason, ParticipationStatus, RunStatus
from fedops.server.database.tables import (
    AttemptRow,
    BundleRow,
    DeviceRow,
    ParticipationRow,
    RoundRow,
    RunRow,
)
from fedops.server.events.event_log import Change
from fedops.server.models import gate, quarantine, versions
from fedops.server.rounds.commits import note_client_metrics
from fedops.server.rounds.engine_session import require_current_attempt
from fedops.server.runs import attempts, stopping
from fedops.server.runs.attempts import engine_of
from fedops.server.runs.transitions import transition_attempt, transition_run
from fedops.settings import ServerSettings


def finish_attempt(
    session: Session, attempt_id: int, body: EngineFinish, settings: ServerSettings, now: float
) -> None:
    """The engine says goodbye. Saying it again is harmless."""
    if _said_before(session, attempt_id, body):
        return
    attempt, run = require_current_attempt(session, attempt_id)
    if body.outcome == "completed" and not body.own_rounds:
        _require_all_rounds(run)
    text = body.text or body.outcome
    note_client_metrics(session, run, run.committed_rounds, body.client_metrics, now)
    transition_attempt(
        session, attempt, AttemptStatus.ENDED, Change(engine_of(attempt), _goodbye(body), now)
    )
    if body.outcome == "completed" and body.own_rounds:
        why = "its own ServerApp has ended; what that made is in its own hands"
        complete_run(session, attempt, run, why, now)
    elif body.outcome == "completed":
        _complete(session, attempt, run, body, now)
    elif body.outcome == "failed" and run.status not in _ENDING:
        reason = body.reason or FailureReason.ENGINE_ERROR
        transition_run(
            session, run, RunStatus.FAILED, Change(engine_of(attempt), text, now), reason=reason
        )
    elif not stopping.finish_stopping(session, run, settings, now) and run.status not in _ENDING:
        attempts.resume_or_fail(session, run, f"attempt {attempt.number} ended: {text}", now)


_ENDING = (RunStatus.STOPPING, RunStatus.PAUSING, RunStatus.STOPPED, RunStatus.PAUSED)


def _goodbye(body: EngineFinish) -> str:
    return f"{body.outcome}: {body.text}" if body.text else body.outcome


def _said_before(session: Session, attempt_id: int, body: EngineFinish) -> bool:
    attempt = session.get_one(AttemptRow, attempt_id)
    return attempt.status is AttemptStatus.ENDED and attempt.reason == _goodbye(body)


def _require_all_rounds(run: RunRow) -> None:
    if run.committed_rounds < run.rounds:
        raise Conflict(
            f"run {run.id} is not complete: {run.committed_rounds} of {run.rounds} rounds committed"
        )


def _complete(
    session: Session, attempt: AttemptRow, run: RunRow, body: EngineFinish, now: float
) -> None:
    """The last round's model becomes the task's next version, and ``latest`` if the gate lets it."""
    last = session.get_one(RoundRow, (run.id, run.committed_rounds))
    metrics = {**last.client_metrics, **last.metrics}
    verdict = gate.verdict_on(session, run, metrics, body.evaluated)
    version = versions.create_version(
        session,
        run.task,
        now,
        engine_of(attempt),
        run_id=run.id,
        round=last.round,
        parent=run.from_version,
        sha256=last.model,
        strategy_state=last.strategy_state,
        contract=run.contract or {},
        metrics=metrics,
        lineage={**_lineage(session, run), "gate": verdict.text},
    )
    name, me = f"V{version.version}", engine_of(attempt)
    made = f"{name} is the new global model"
    if verdict.collapsed:
        quarantine.put(session, version, verdict.text, me, now)
        made = f"{name} is quarantined: {verdict.text}"
    else:
        versions.move_alias(session, run.task, versions.LATEST, version.version, now, me)
    why = f"all {run.rounds} rounds committed; {made}"
    values: dict[str, Any] = {"version": version.version, "metrics": metrics or run.metrics}
    complete_run(session, attempt, run, why, now, **values)


def complete_run(
    session: Session, attempt: AttemptRow, run: RunRow, why: str, now: float, **values: Any
) -> None:
    if run.status is RunStatus.PAUSING:  # it completed before it could pause
        transition_run(session, run, RunStatus.STOPPING, Change(engine_of(attempt), why, now))
    transition_run(
        session, run, RunStatus.COMPLETED, Change(engine_of(attempt), why, now), **values
    )


def _lineage(session: Session, run: RunRow) -> dict[str, Any]:
    """Where a model comes from: enough to make it again."""
    contract: dict[str, Any] = run.contract or {}
    return {
        "run": run.id,
        "parent_run": run.parent,
        "rounds": run.rounds,
        "first_round": run.first_round,
        "seed": run.seed,
        "bundle": run.bundle,
        "commit": session.get_one(BundleRow, run.bundle).commit,
        "config": run.config,
        "from_version": run.from_version,
        "dataset": run.dataset,
        "attempts": run.current_attempt,
        "parameters": len(contract.get("parameters", [])),
        "devices": _contributions(session, run),
        **({"rebuilds": run.rebuilds} if run.rebuilds else {}),
    }


def _contributions(session: Session, run: RunRow) -> dict[str, dict[str, int]]:
    """Per device: in how many rounds it was aggregated, and its examples in them, summed."""
    query = (
        select(DeviceRow.name, func.count(), func.coalesce(func.sum(ParticipationRow.examples), 0))
        .join(ParticipationRow, ParticipationRow.device_id == DeviceRow.id)
        .join(
            RoundRow,
            (RoundRow.run_id == ParticipationRow.run_id)
            & (RoundRow.round == ParticipationRow.round)
            & (RoundRow.attempt == ParticipationRow.attempt),
        )
        .where(ParticipationRow.run_id == run.id, RoundRow.committed_at.is_not(None))
        .where(ParticipationRow.status == ParticipationStatus.REPLIED)
        .group_by(DeviceRow.name)
        .order_by(DeviceRow.name)
    )
    return {
        name: {"rounds": int(rounds), "examples": int(examples or 0)}
        for name, rounds, examples in session.execute(query)
    }
