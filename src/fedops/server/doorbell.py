"""Who waits for news, and how they are woken: the hub of all long polls.

Any thread may ring; coroutines wait. A waiter costs one future, so a thousand of them cost nothing
while it is quiet. All of it lives in memory: after a restart everybody simply asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from fedops.core.contracts import NodeBell, Signal

T = TypeVar("T")
SignalKind = Literal["uploaded", "hello", "gone", "command"]
#: How many nodes may upload to one attempt at a time: bounds what the engine's memory must hold.
UPLOAD_SLOTS = 2
#: After this long a node that took an upload slot and fell silent loses it. Seconds.
SLOT_LEASE_SECONDS = 120.0


@dataclass(eq=False)
class _Queued:
    """A node in the queue for an upload slot."""

    node_id: str
    wake: Callable[[], None]
    granted: bool = False


@dataclass
class _Attempt:
    """What waits around one attempt."""

    sequence: int = 0
    signals: list[Signal] = field(default_factory=list)
    slots: dict[str, float] = field(default_factory=dict)
    queue: deque[_Queued] = field(default_factory=deque)
    replies: dict[str, str] = field(default_factory=dict)
    over: bool = False
    #: How many may hold a slot at a time; None: the doorbell's own number.
    allowed: int | None = None


class Doorbell:
    """Thread-safe; everything but the ``wait_`` and ``acquire_`` coroutines may be called anywhere."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        slots: int = UPLOAD_SLOTS,
        lease_seconds: float = SLOT_LEASE_SECONDS,
    ) -> None:
        self.epoch = secrets.token_hex(8)
        self._clock = clock
        self._slots = slots
        self._lease = lease_seconds
        # Revisions go on rising over a restart, so that a device never meets an old one again.
        first_revision = time.time_ns() // 1_000_000
        self._revisions: dict[str, int] = defaultdict(lambda: first_revision)
        self._bells: dict[str, int] = defaultdict(int)
        self._attempts: dict[int, _Attempt] = {}
        self._lock = threading.Lock()
        self._parked: dict[Hashable, set[asyncio.Future[None]]] = {}
        self._closed = False

    # --- waking and waiting --------------------------------------------------------------------

    def close(self) -> None:
        """Let every waiter go, now and from now on: the server is ending."""
        with self._lock:
            self._closed = True
            for key in list(self._parked):
                self._wake(key)
            for attempt in self._attempts.values():
                for queued in attempt.queue:
                    queued.wake()

    def _wake(self, key: Hashable) -> None:
        for future in self._parked.pop(key, ()):
            _finish_soon(future)

    async def _until(self, key: Hashable, ready: Callable[[], T | None], wait: float) -> T | None:
        """What ``ready`` gives (under the lock), as soon as it gives something; else None."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            with self._lock:
                found = ready()
                left = deadline - loop.time()
                if found is not None or left <= 0 or self._closed:
                    return found
                future = loop.create_future()
                self._parked.setdefault(key, set()).add(future)
            try:
                await asyncio.wait([future], timeout=left)
            finally:
                self._unpark(key, future)

    def _unpark(self, key: Hashable, future: asyncio.Future[None]) -> None:
        with self._lock:
            parked = self._parked.get(key, set())
            parked.discard(future)
            if not parked:
                self._parked.pop(key, None)

    # --- devices: the desired state changed ----------------------------------------------------

    def bump_device(self, device_id: str) -> None:
        """What the server wants of a device has changed."""
        with self._lock:
            self._revisions[device_id] += 1
            self._wake(("device", device_id))

    def revision(self, device_id: str) -> int:
        """The current revision of a device's desired state."""
        with self._lock:
            return self._revisions[device_id]

    async def wait_device(self, device_id: str, after: int, wait: float) -> int:
        """The revision, as soon as it is another than ``after`` or the time is up."""

        def ready() -> int | None:
            revision = self._revisions[device_id]
            return revision if revision != after else None

        found = await self._until(("device", device_id), ready, wait)
        return after if found is None else found

    # --- nodes: there is a message --------------------------------------------------------------

    def ring(self, node_ids: Iterable[str]) -> None:
        """There is a message for these nodes."""
        with self._lock:
            for node_id in node_ids:
                self._bells[node_id] += 1
                self._wake(("node", node_id))

    def bell(self, node_id: str) -> NodeBell:
        """How often a node's bell has rung."""
        with self._lock:
            return NodeBell(epoch=self.epoch, count=self._bells.get(node_id, 0))

    async def wait_bell(self, node_id: str, epoch: str, after: int, wait: float) -> NodeBell:
        """The bell, at once when it rang since ``after`` or when ``epoch`` is of another life.

        A node that got another id asks with the count of the old one, so any other count is news.
        """

        def ready() -> int | None:
            count = self._bells.get(node_id, 0)
            return count if epoch != self.epoch or count != after else None

        await self._until(("node", node_id), ready, wait)
        return self.bell(node_id)

    # --- attempts: signals to the round engine --------------------------------------------------

    def signal(
        self,
        attempt_id: int,
        kind: SignalKind,
        device: str | None = None,
        message_id: str | None = None,
        reply_to: str | None = None,
        text: str = "",
        node_id: str | None = None,
    ) -> None:
        """Tell the engine of an attempt something. ``node_id``: whose upload slot it names."""
        with self._lock:
            attempt = self._attempts.setdefault(attempt_id, _Attempt())
            attempt.sequence += 1
            if reply_to and node_id:
                attempt.replies[reply_to] = node_id
            attempt.signals.append(
                Signal(
                    sequence=attempt.sequence,
                    kind=kind,
                    device=device,
                    message_id=message_id,
                    reply_to=reply_to,
                    text=text,
                )
            )
            self._wake(("attempt", attempt_id))

    async def wait_signals(self, attempt_id: int, after: int, wait: float) -> list[Signal]:
        """All signals beyond ``after``, as soon as there are any. Those up to it are dropped."""

        with self._lock:
            attempt = self._attempts.setdefault(attempt_id, _Attempt())

        def ready() -> list[Signal] | None:
            attempt.signals = [s for s in attempt.signals if s.sequence > after]
            return list(attempt.signals) if attempt.signals or attempt.over else None

        return await self._until(("attempt", attempt_id), ready, wait) or []

    def forget(self, attempt_id: int) -> None:
        """The attempt is over: whoever waits for it may go."""
        with self._lock:
            attempt = self._attempts.pop(attempt_id, None)
            if attempt is None:
                return
            attempt.over = True
            for queued in attempt.queue:
                queued.wake()
            self._wake(("attempt", attempt_id))

    # --- upload slots: few uploads at a time per attempt -----------------------------------------

    async def acquire_slot(self, attempt_id: int, node_id: str, wait: float) -> bool:
        """Wait in line for an upload slot. Asking again while holding one renews it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        turn = asyncio.Event()
        queued = _Queued(node_id, lambda: _call_soon(loop, turn.set))
        with self._lock:
            self._attempts.setdefault(attempt_id, _Attempt()).queue.append(queued)
            self._settle(attempt_id)
        try:
            while not queued.granted and (left := deadline - loop.time()) > 0 and not self._closed:
                await self._turn(attempt_id, turn, left)
                if turn.is_set():
                    break
        except asyncio.CancelledError:
            self._leave(attempt_id, queued)
            if queued.granted:
                self.release_slot(attempt_id, node_id)
            raise
        self._leave(attempt_id, queued)
        return queued.granted

    async def _turn(self, attempt_id: int, turn: asyncio.Event, left: float) -> None:
        """Until our turn comes, the time is up or somebody's lease ends."""
        with self._lock:
            attempt = self._attempts.get(attempt_id)
            ends = min(attempt.slots.values(), default=float("inf")) if attempt else float("inf")
        pause = min(left, max(ends - self._clock(), 0.0) + 0.05)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(turn.wait(), pause)
        with self._lock:
            self._settle(attempt_id)

    def _leave(self, attempt_id: int, queued: _Queued) -> None:
        with self._lock:
            attempt = self._attempts.get(attempt_id)
            if attempt and queued in attempt.queue:
                attempt.queue.remove(queued)

    def _settle(self, attempt_id: int) -> None:
        """Give free slots to the head of the queue, in the order of asking (lock held)."""
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            return
        now = self._clock()
        attempt.slots = {n: ends for n, ends in attempt.slots.items() if ends > now}
        allowed = attempt.allowed or self._slots
        waiting: deque[_Queued] = deque()
        for queued in attempt.queue:
            if queued.node_id in attempt.slots or len(attempt.slots) < allowed:
                attempt.slots[queued.node_id] = now + self._lease
                queued.granted = True
                queued.wake()
            else:
                waiting.append(queued)
        attempt.queue = waiting

    def allow_slots(self, attempt_id: int, count: int | None) -> None:
        """How many nodes may upload to an attempt at a time, from now on (None: as ever)."""
        with self._lock:
            self._attempts.setdefault(attempt_id, _Attempt()).allowed = count
            self._settle(attempt_id)

    def release_slot(self, attempt_id: int, node_id: str) -> None:
        """The node's upload is over, whatever became of it."""
        with self._lock:
            attempt = self._attempts.get(attempt_id)
            if attempt:
                attempt.slots.pop(node_id, None)
                self._settle(attempt_id)

    def release_reply(self, attempt_id: int, reply_to: str) -> None:
        """The reply to this message is on the engine's disk: free the slot of who sent it."""
        with self._lock:
            attempt = self._attempts.get(attempt_id)
            node_id = attempt.replies.pop(reply_to, None) if attempt else None
        if node_id is not None:
            self.release_slot(attempt_id, node_id)

    def release_node(self, node_id: str) -> None:
        """The node started anew or is gone: it uploads nothing any more."""
        with self._lock:
            holding = [i for i, a in self._attempts.items() if node_id in a.slots]
        for attempt_id in holding:
            self.release_slot(attempt_id, node_id)

    def release_all(self, attempt_id: int) -> None:
        """Free every slot of an attempt."""
        with self._lock:
            attempt = self._attempts.get(attempt_id)
            if attempt:
                attempt.slots.clear()
                self._settle(attempt_id)


def _finish_soon(future: asyncio.Future[None]) -> None:
    _call_soon(future.get_loop(), lambda: None if future.done() else future.set_result(None))


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop of that waiter is closed already
        loop.call_soon_threadsafe(call)
