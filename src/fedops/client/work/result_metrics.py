"""The metrics that a result holds. Of one that was found on disk nobody knows whether they were reported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedops.core.contracts.training import (
    EVAL_METRICS,
    EVALUATE,
    HEADER,
    METRICS,
    ClientMetrics,
    UpdateHeader,
    is_coalition_kind,
)
from fedops.core.errors import Invalid
from fedops.storage.payloads import Document, read_document, values_of
from fedops.storage.tensors import TensorFile


@dataclass(frozen=True)
class Measured:
    """One metric, as the training client reports it."""

    name: str
    value: float
    run_id: int
    round: int


def metrics_of(result: Path, kind: str) -> list[Measured]:
    """What was measured for a result; nothing when it is none of ours. Reporting it twice is harmless."""
    if is_coalition_kind(kind):  # what a model achieves that the run does not have
        return []
    try:
        document = read_document(TensorFile(result))
        header = UpdateHeader.from_values(values_of(document, HEADER, "config") or {})
        trained, evaluated = _metrics(document, METRICS), _metrics(document, EVAL_METRICS)
    except (OSError, Invalid):
        return []
    # Before training it is the model of the round before that is evaluated.
    before = header.round - (kind != EVALUATE)
    found = [(name, value, header.round) for name, value in trained if name.startswith("train_")]
    found += [(f"eval_{name}", value, before) for name, value in evaluated]
    return [Measured(name, value, header.run_id, round_) for name, value, round_ in found]


def _metrics(document: Document, record: str) -> list[tuple[str, float]]:
    values = values_of(document, record, "metric")
    return [] if values is None else list(ClientMetrics.from_values(values).metrics.items())
