"""The assignments of Flower's nodes: what is open, until when, and the stream of what became of each."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from fedops.core.contracts import Delivery, OfferBatch, OfferRequest
from fedops.core.states import AssignmentStatus


@dataclass(frozen=True)
class NodeWork:
    """One assignment."""

    id: str
    device: str
    kind: str
    round: int | None
    retry: int
    until: float  #: its deadline, on the monotonic clock
    message: str  #: the id of the message that carries it

    def delivery(self, status: AssignmentStatus, **more: Any) -> Delivery:
        """What became of it."""
        return Delivery(
            id=self.id,
            device=self.device,
            kind=self.kind,
            round=self.round,
            retry=self.retry,
            status=status,
            **more,
        )


class NodeWorkBook:
    """All assignments of a run: a device has one of a round and kind at a time, and each ends once."""

    def __init__(self) -> None:
        self._open: dict[str, NodeWork] = {}
        self._stream: list[Delivery] = []

    def open_for(self, offer: OfferRequest, round_: int | None) -> NodeWork | None:
        """What the device has in hand of this round and kind."""
        key = (offer.device, offer.kind, round_)
        found = (one for one in self._open.values() if (one.device, one.kind, one.round) == key)
        return next(found, None)

    def begin(self, batch: OfferBatch, offer: OfferRequest, message: str) -> NodeWork:
        """An assignment that a message carries."""
        until = time.monotonic() + batch.deadline_seconds
        work = NodeWork(
            uuid.uuid4().hex, offer.device, offer.kind, batch.round, offer.retry, until, message
        )
        self._open[work.id] = work
        return work

    @property
    def messages(self) -> dict[str, NodeWork]:
        """By message, what is open."""
        return {work.message: work for work in self._open.values()}

    def end(self, work: NodeWork, status: AssignmentStatus, **more: Any) -> None:
        """It ended, or was delivered. What ended before stays as it is."""
        if self._open.pop(work.id, None) is not None:
            self._stream.append(work.delivery(status, **more))

    def expire(self) -> None:
        """End what is not done in time."""
        now = time.monotonic()
        for work in [one for one in self._open.values() if one.until <= now]:
            self.end(work, AssignmentStatus.EXPIRED, reason="its deadline passed")

    def matching(
        self, *, ids: Collection[str] | None = None, round_: int | None = None
    ) -> Iterator[NodeWork]:
        """The open ones with these ids, or of this round."""
        for work in list(self._open.values()):
            if work.id in ids if ids is not None else work.round == round_:
                yield work

    def since(self, sequence: int) -> tuple[int, list[Delivery]]:
        """How far the stream is, and what came after ``sequence``."""
        return len(self._stream), self._stream[sequence:]
