"""The messages of a grid that wait for their turn or their reply: a device has one of a kind at a time."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from flwr.app import Message

from fedops.core.contracts import OfferBatch, OfferRequest
from fedops.storage.payloads import Document

Key = tuple[str, str]


@dataclass
class Sent:
    """A message on its way."""

    id: str
    device: str
    kind: str
    group_id: str
    until: float  #: its deadline, on the monotonic clock
    document: Document
    asked: Message  #: without its content: what the reply refers to
    assignment: str = ""
    gone: tuple[float, str] | None = None

    @property
    def key(self) -> Key:
        return self.device, self.kind


@dataclass
class SentMessages:
    """All that have no reply yet."""

    waiting: dict[Key, deque[Sent]] = field(default_factory=lambda: defaultdict(deque))
    open: dict[str, Sent] = field(default_factory=dict)  #: by assignment

    def add(self, messages: Iterable[Sent]) -> None:
        for message in messages:
            self.waiting[message.key].append(message)

    def due(self) -> list[Sent]:
        """The next message of each device and kind that has none in hand."""
        busy = {sent.key for sent in self.open.values()}
        free = [key for key, queue in self.waiting.items() if queue and key not in busy]
        return [self.waiting[key].popleft() for key in free]

    def settle(self, assignment: str) -> Sent | None:
        """The message of an assignment that is over; None when it is none of ours."""
        return self.open.pop(assignment, None)

    def of(self, ids: Iterable[str]) -> list[Sent]:
        """Those of these messages that are in hand of a device."""
        wanted = set(ids)
        return [sent for sent in self.open.values() if sent.id in wanted]

    def are_gone(self, ids: Iterable[str]) -> bool:
        """Whether all devices that have one of these messages in hand are away."""
        return all(sent.gone for sent in self.of(ids))

    def is_any_left(self, ids: Iterable[str]) -> bool:
        """Whether one of these messages has no reply yet."""
        wanted = set(ids)
        queued = (sent.id for queue in self.waiting.values() for sent in queue)
        return bool(self.of(wanted)) or any(id_ in wanted for id_ in queued)

    def drop(self, ids: Iterable[str]) -> list[Sent]:
        """Take back those of these messages that wait for their turn."""
        wanted = set(ids)
        dropped = [sent for queue in self.waiting.values() for sent in queue if sent.id in wanted]
        for sent in dropped:
            self.waiting[sent.key].remove(sent)
        return dropped

    def note_presence(self, device: str, gone: str | None) -> None:
        """A device went, or is back."""
        for sent in self.open.values():
            if sent.device == device:
                sent.gone = (time.monotonic(), gone) if gone else None


def batches(due: Iterable[Sent]) -> list[tuple[OfferBatch, list[Sent]]]:
    """Offers for messages: those of one group and deadline together, equal documents once."""
    grouped: dict[tuple[str, float], list[Sent]] = defaultdict(list)
    for sent in due:
        grouped[sent.group_id, sent.until].append(sent)
    made, now = [], time.monotonic()
    for (group_id, until), messages in grouped.items():
        for part in _one_a_device(messages):
            made.append((_batch(part, group_id, max(until - now, 0.001)), part))
    return made


def _one_a_device(messages: list[Sent]) -> list[list[Sent]]:
    """An answer to a batch names one assignment a device."""
    parts: list[dict[str, Sent]] = []
    for sent in messages:
        part = next((part for part in parts if sent.device not in part), None)
        if part is None:
            part = {}
            parts.append(part)
        part[sent.device] = sent
    return [list(part.values()) for part in parts]


def _batch(messages: list[Sent], group_id: str, seconds: float) -> OfferBatch:
    documents: list[Document] = []
    index: dict[int, int] = {}
    for sent in messages:
        if id(sent.document) not in index:
            index[id(sent.document)] = len(documents)
            documents.append(sent.document)
    return OfferBatch(
        instructions=documents,
        offers=[
            OfferRequest(device=s.device, kind=s.kind, instruction=index[id(s.document)])
            for s in messages
        ],
        deadline_seconds=seconds,
        group_id=group_id,
    )
