"""What the engine of each attempt must hear: results, ends, and which of its devices are there.

A sequence an attempt, in memory. What came before the attempt began to collect is put first, from the rows.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

from fedops.core.contracts import Delivery, DevicePresence
from fedops.core.states import AssignmentStatus
from fedops.server.events.notifications import AttemptHello, WorkForEngine
from fedops.server.rounds.wake_ups import WakeUps

#: An answer holds about so much of small results at most. Bytes.
PAGE_BYTES = 8 << 20


@dataclass
class _Inbox:
    attempt_id: int
    sequence: int = 0
    entries: dict[int, Delivery | DevicePresence] = field(default_factory=dict)
    #: What was last said of each assignment: not with its result, which may be large.
    said: dict[str, AssignmentStatus] = field(default_factory=dict)
    #: Told to look again, though there is nothing to hand over.
    nudged: bool = False
    over: bool = False

    def add(self, entry: Delivery | DevicePresence) -> None:
        if isinstance(entry, Delivery):
            if self.said.get(entry.id) is entry.status:
                return
            self.said[entry.id] = entry.status
        self.sequence += 1
        self.entries[self.sequence] = entry


@dataclass(frozen=True)
class Page:
    """What an engine collects."""

    sequence: int
    deliveries: list[Delivery]
    presence: list[DevicePresence]


class AttemptInboxes:
    """Thread-safe; everything but ``collect`` may be called anywhere."""

    def __init__(self) -> None:
        self._by_attempt: dict[int, _Inbox] = {}
        self._by_run: dict[int, _Inbox] = {}
        self._wake_ups = WakeUps()
        self._lock = threading.Lock()

    @property
    def hosted(self) -> dict[int, int]:
        """The runs whose engines collect here, each with the attempt."""
        with self._lock:
            return {run_id: inbox.attempt_id for run_id, inbox in self._by_run.items()}

    def begin(self, hello: AttemptHello) -> None:
        """An attempt begins to collect (or begins again)."""
        with self._lock:
            inbox = self._by_attempt.get(hello.attempt_id)
            if inbox is None:
                inbox = _Inbox(hello.attempt_id)
                self._by_attempt[hello.attempt_id] = self._by_run[hello.run_id] = inbox
            for delivery in hello.deliveries:
                inbox.add(delivery)
            for name, why in hello.gone:
                inbox.add(DevicePresence(device=name, gone=why))
        self._wake_ups.wake([hello.attempt_id])

    def deliver(self, notice: WorkForEngine) -> None:
        """Something became of an assignment of a run."""
        with self._lock:
            inbox = self._by_run.get(notice.run_id)
            if inbox is None:
                return
            inbox.add(notice.delivery)
        self._wake_ups.wake([inbox.attempt_id])

    def presence(self, attempt_ids: tuple[int, ...], device: str, gone: str | None) -> None:
        """A device that attempts wait for went away, or is back (``gone`` None)."""
        with self._lock:
            for attempt_id in attempt_ids:
                if attempt_id in self._by_attempt:
                    self._by_attempt[attempt_id].add(DevicePresence(device=device, gone=gone))
        self._wake_ups.wake(attempt_ids)

    def nudge(self, attempt_id: int) -> None:
        """The engine must look again: its command or its devices changed."""
        with self._lock:
            if attempt_id in self._by_attempt:
                self._by_attempt[attempt_id].nudged = True
        self._wake_ups.wake([attempt_id])

    def forget(self, attempt_id: int) -> None:
        """The attempt is over: whoever waits for it may go."""
        with self._lock:
            inbox = self._by_attempt.pop(attempt_id, None)
            if inbox is None:
                return
            inbox.over = True
            self._by_run = {run: one for run, one in self._by_run.items() if one is not inbox}
        self._wake_ups.wake([attempt_id])

    async def collect(self, attempt_id: int, after: int, wait: float) -> Page:
        """What came beyond ``after``, as soon as there is anything. What is up to it was taken in."""

        def look(time_is_over: bool) -> Page | float:
            inbox = self._by_attempt.get(attempt_id)
            if inbox is None:
                return Page(after, [], [])
            inbox.entries = {n: entry for n, entry in inbox.entries.items() if n > after}
            if inbox.entries or inbox.nudged or time_is_over:
                inbox.nudged = False
                return _page(inbox, after)
            return math.inf

        return await self._wake_ups.poll(attempt_id, self._lock, look, wait)

    def close(self) -> None:
        """Let every waiter go: the server is ending."""
        self._wake_ups.close()


def _page(inbox: _Inbox, after: int) -> Page:
    sequence, size = after, 0
    deliveries: list[Delivery] = []
    presence: list[DevicePresence] = []
    for number, entry in inbox.entries.items():
        if size >= PAGE_BYTES:
            break
        sequence = number
        if isinstance(entry, Delivery):
            deliveries.append(entry)
            size += 500 + len(entry.inline or "")
        else:
            presence.append(entry)
    return Page(sequence, deliveries, presence)
