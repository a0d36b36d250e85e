"""Runs, rounds and metrics as operators read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import AttemptRead, MetricRead, ParticipationRead, RoundRead, RunRead
from fedops.core.reasons import next_steps
from fedops.core.reasons.attempts import AttemptFacts, attempt_why
from fedops.core.reasons.plan import plan_text
from fedops.core.reasons.runs import run_why
from fedops.server.database.lookup import require_run
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import (
    AttemptRow,
    DeviceRow,
    FiringRow,
    MetricRow,
    ParticipationRow,
    RoundRow,
    RunRow,
)
from fedops.server.models import versions
from fedops.server.runs import run_facts
from fedops.settings import ServerSettings

METRICS_PAGE = 20_000


Within = frozenset[str] | None


def read_run(
    session: Session, run_id: int, settings: ServerSettings, now: float, within: Within = None
) -> RunRead:
    """One run, with its attempts and why it is as it is. ``within``: of other tasks nothing is told."""
    require_run(session, run_id)
    return read_runs(session, [run_id], settings, now, within)[0]


def read_planned(
    session: Session, run_id: int, settings: ServerSettings, now: float, within: Within = None
) -> RunRead:
    """The same of a run that was just set going, with what will happen in it."""
    plan = run_facts.run_plan(session, require_run(session, run_id), now)
    found = read_run(session, run_id, settings, now, within)
    return found.model_copy(update={"plan": plan_text(plan)})


def read_runs(
    session: Session,
    run_ids: Sequence[int],
    settings: ServerSettings,
    now: float,
    within: Within = None,
) -> list[RunRead]:
    """These runs, newest first."""
    if not run_ids:
        return []
    query = select(RunRow).where(RunRow.id.in_(run_ids)).order_by(RunRow.id.desc())
    attempts, fates = _attempts(session, run_ids), versions.fates(session, run_ids)
    firings = _firings(session, run_ids)
    found = [
        _read(session, run, attempts[run.id], fates.get(run.id, (None, "")), settings, now, within)
        for run in session.scalars(query).all()
    ]
    return [_with_firing(run, firings.get(run.id)) for run in found]


def _firings(session: Session, run_ids: Sequence[int]) -> Mapping[int, FiringRow]:
    query = select(FiringRow).where(FiringRow.run_id.in_(run_ids))
    return {row.run_id: row for row in session.scalars(query) if row.run_id is not None}


def _with_firing(run: RunRead, firing: FiringRow | None) -> RunRead:
    """A run that a schedule began: which one, why it fired, and what became of the version."""
    if run.schedule is None:
        return run
    text = f"begun by schedule '{run.schedule}'"
    if firing is not None:
        text = f"begun by firing {firing.id} of schedule '{run.schedule}' ({firing.why})"
        text += f"; {firing.outcome}" if firing.ended_at is not None else ""
    return run.model_copy(update={"begun_by": text, "why": next_steps.sentence(run.why, text)})


def _attempts(session: Session, run_ids: Sequence[int]) -> Mapping[int, list[AttemptRow]]:
    found: dict[int, list[AttemptRow]] = defaultdict(list)
    query = select(AttemptRow).where(AttemptRow.run_id.in_(run_ids)).order_by(AttemptRow.number)
    for row in session.scalars(query):
        found[row.run_id].append(row)
    return found


def _read(
    session: Session,
    run: RunRow,
    attempts: Sequence[AttemptRow],
    fate: tuple[str | None, str],
    settings: ServerSettings,
    now: float,
    within: Within,
) -> RunRead:
    quarantine, gate = fate
    current = next((a for a in attempts if a.number == run.current_attempt), None)
    seen = run_facts.run_facts(session, run, current, settings, now, within)
    return read_as(
        RunRead,
        run,
        why=run_why(replace(seen, quarantine=quarantine)),
        seconds_in_state=seen.seconds_in_state,
        limit_seconds=seen.limit_seconds,
        stopping=list(seen.unconfirmed),
        begun_by="",
        devices=run.devices or [],
        plan="",
        gate=gate,
        quarantine=quarantine,
        attempts=[
            _attempt(row, run_facts.attempt_facts(run, row, settings, now)) for row in attempts
        ],
    )


def _attempt(row: AttemptRow, seen: AttemptFacts) -> AttemptRead:
    return read_as(AttemptRead, row, why=attempt_why(seen), limit_seconds=seen.limit_seconds)


def read_rounds(session: Session, run_id: int) -> list[RoundRead]:
    """The rounds of a run, each with its clients."""
    require_run(session, run_id)
    parts = _participations(session, run_id)
    query = select(RoundRow).where(RoundRow.run_id == run_id).order_by(RoundRow.round)
    return [_round(row, parts[row.round, row.attempt]) for row in session.scalars(query)]


def _participations(
    session: Session, run_id: int
) -> Mapping[tuple[int, int], list[ParticipationRead]]:
    """Of each (round, attempt), the clients by name."""
    found: dict[tuple[int, int], list[ParticipationRead]] = defaultdict(list)
    query = (
        select(ParticipationRow, DeviceRow.name)
        .join(DeviceRow, DeviceRow.id == ParticipationRow.device_id)
        .where(ParticipationRow.run_id == run_id)
        .order_by(DeviceRow.name)
    )
    for row, name in session.execute(query):
        found[row.round, row.attempt].append(read_as(ParticipationRead, row, device=name))
    return found


def _round(row: RoundRow, participations: list[ParticipationRead]) -> RoundRead:
    return read_as(
        RoundRead,
        row,
        metrics=_metrics(row),
        participations=participations,
        kept=row.model is not None and row.pruned_at is None,
    )


def _metrics(row: RoundRow) -> dict[str, float]:
    """Of the model the round made: the server's own figures win; where both exist, both are shown."""
    both = {f"client_{n}": v for n, v in row.client_metrics.items() if n in row.metrics}
    train = {_train_name(name): value for name, value in row.train_metrics.items()}
    return {**train, **both, **row.client_metrics, **row.metrics}


def _train_name(name: str) -> str:
    return name if name.startswith("train_") else f"train_{name}"


def metrics(
    session: Session, run_id: int, name: str | None = None, after: int = 0
) -> list[MetricRead]:
    """The numbers of a run, in the order they came: those beyond ``after``, a page of them."""
    require_run(session, run_id)
    query = (
        select(MetricRow, DeviceRow.name)
        .outerjoin(DeviceRow, DeviceRow.id == MetricRow.device_id)
        .where(MetricRow.run_id == run_id, MetricRow.id > after)
        .order_by(MetricRow.id)
        .limit(METRICS_PAGE)
    )
    if name is not None:
        query = query.where(MetricRow.name == name)
    return [read_as(MetricRead, row, device=device) for row, device in session.execute(query)]
