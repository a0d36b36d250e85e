"""What an in-memory server and its clients speak of: an assignment, its work, and what becomes of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import zstandard

from fedops.core import contracts as c
from fedops.core.contracts.training import (
    ARRAYS,
    CONFIG,
    EVAL_METRICS,
    HEADER,
    METRICS,
    TrainingOrder,
    message_type_of,
)
from fedops.core.states import AssignmentStatus
from fedops.storage.payloads import Payload
from fedops.storage.tensors import Tensors
from fedops.trainer.local_round import LocalTrainer, LocalUpdate

A = AssignmentStatus


@dataclass
class Assignment:
    """A row of the table."""

    id: str
    device: str
    kind: str
    round: int | None
    retry: int
    evaluates: bool
    document: dict[str, Any]
    deadline: float
    status: AssignmentStatus = A.OFFERED
    delivery: c.Delivery | None = None
    max_bytes: int | None = None
    encodings: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, int | None, int]:
        return (self.device, self.kind, self.round, self.retry)

    def delivered(self, **more: Any) -> c.Delivery:
        """What the engine is told of its end."""
        return c.Delivery(
            id=self.id,
            device=self.device,
            kind=self.kind,
            round=self.round,
            retry=self.retry,
            status=self.status,
            **more,
        )


@dataclass(frozen=True)
class Work:
    """What a client is given."""

    assignment: Assignment
    order: TrainingOrder
    tensors: Tensors

    @property
    def kind(self) -> str:
        return self.assignment.kind


@dataclass(frozen=True)
class Refused:
    """A client ends its assignment: it cannot take part."""

    reason: str


#: What a client makes of its work: a result, a refusal, or nothing, ever. It fails by raising.
Answer = Callable[[Work], Payload | bytes | Refused | None]


def work_of(assignment: Assignment, payload: Payload) -> Work:
    """What an assignment asks for, of its document with the tensors in it."""
    order = TrainingOrder.from_values(payload.configs[CONFIG])
    return Work(assignment, order, dict(payload.arrays[ARRAYS]))  # type: ignore[arg-type]


def encoded(data: bytes, encoding: str) -> tuple[bytes, dict[str, Any]]:
    """A result as it travels, and what its delivery says of that."""
    if encoding != "zstd":
        return data, {}
    digest = hashlib.sha256(data).hexdigest()
    more = {"encoding": "zstd", "decoded_sha256": digest, "decoded_size": len(data)}
    return zstandard.compress(data), more


def open_round_of(found: Sequence[Assignment], selected: Mapping[str, str]) -> c.OpenRound:
    """What the next attempt is told of a round that was begun. ``selected``: devices, and why."""
    documents: list[dict[str, Any]] = []
    for one in found:
        if one.document not in documents:
            documents.append(one.document)
    return c.OpenRound(
        round=found[0].round or 0,
        selected=dict(selected),
        assignments=[
            c.OpenAssignment(
                id=one.id,
                device=one.device,
                kind=one.kind,
                retry=one.retry,
                status=one.status,
                evaluates=one.evaluates,
                instruction=documents.index(one.document),
            )
            for one in found
        ],
        seconds_left=max(found[0].deadline - time.monotonic(), 0.0),
        instructions=documents,
    )


def trained_by(trainer: LocalTrainer) -> Answer:
    """A client that does its work as a device does."""

    def answer(work: Work) -> Payload | Refused:
        update = trainer(work.order, work.tensors, message_type_of(work.kind))
        return Refused(update.header.refused) if update.header.refused else payload_of(update)

    return answer


def payload_of(update: LocalUpdate) -> Payload:
    """An update as a client delivers it."""
    measured = {METRICS: update.trained, EVAL_METRICS: update.evaluated}
    return Payload(
        arrays={} if update.tensors is None else {ARRAYS: update.tensors},
        metrics={name: m.values() for name, m in measured.items() if m is not None},
        configs={HEADER: update.header.values()},
    )
