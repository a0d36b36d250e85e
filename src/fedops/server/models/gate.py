"""The gate: whether the version that a run has made may become the task's ``latest``."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.config.schema import Gate
from fedops.core.quality_gate import GateRule, Verdict, judge
from fedops.server.database.tables import MetricRow, ModelVersionRow, RunRow
from fedops.server.models import touched


def rule_of(run: RunRow) -> GateRule:
    """What the run's config says of the gate."""
    gate = Gate.model_validate(run.config.get("server", {}).get("gate", {}))
    less = None if gate.better is None else gate.better == "lower"
    return GateRule(gate.metric, less, gate.ratio)


def verdict_on(
    session: Session, run: RunRow, metrics: Mapping[str, float], evaluated: bool
) -> Verdict:
    """What the gate says of the model with these metrics that a run ends with."""
    if found := touched.rounds_by_quarantined(session, run):
        said = [f"{name} in round {', '.join(map(str, at[:10]))}" for name, at in found.items()]
        return Verdict(True, f"updates of quarantined devices are in it: {'; '.join(said[:5])}")
    parent = _parent(session, run)
    if parent is None:
        return Verdict(False, "no gate: the run started from no version")
    if parent.quarantined_at is not None:
        text = f"the run started from V{parent.version}, which is quarantined: {parent.quarantine}"
        return Verdict(True, text)
    before = {**seen_by_clients(session, run), **parent.metrics}
    name = f"V{parent.version}"
    return judge(rule_of(run), before, metrics, name, evaluated=evaluated)


def _parent(session: Session, run: RunRow) -> ModelVersionRow | None:
    if run.from_version is None:
        return None
    return session.get(ModelVersionRow, (run.task, run.from_version))


def seen_by_clients(session: Session, run: RunRow) -> dict[str, float]:
    """What the clients of the first round said of the model that they were given: V0 has no other metrics."""
    while run.parent is not None:
        before = session.get_one(RunRow, run.parent)
        if before.from_version != run.from_version:
            break
        run = before
    query = select(MetricRow.name, MetricRow.value).where(
        MetricRow.run_id == run.id,
        MetricRow.round == run.first_round - 1,
        MetricRow.source == "clients",
    )
    return {name: value for name, value in session.execute(query)}
