"""What an in-memory server and its clients speak of: an assignment, its work, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fedops.core import contracts as c
from fedops.core.contracts.training import TrainingOrder
from fedops.core.states import AssignmentStatus
from fedops.storage.payloads import Payload
from fedops.storage.tensors import Tensors

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
