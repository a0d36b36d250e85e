"""A grid that many threads use at once, as Flower's former ServerApps (``server_fn``) do.

Those ask each client in a thread of its own, while another looks which clients there are. What is asked at
about the same time goes out together, and so each grid below is used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from fedops.core.errors import AttemptSuperseded, FedOpsError, Unavailable
from fedops.engine.link.exit_reasons import RunFailed, StopRequested
from fedops.flower.codec.compat import RunNotRunning
from fedops.flower.grid.run_grid import RunGrid

T = TypeVar("T")
#: What ends the attempt, whichever thread of the app meets it.
ENDS = (StopRequested, AttemptSuperseded, RunFailed, Unavailable)
#: How long others are waited for that ask at the same time. Seconds.
_GATHER_SECONDS = 0.1


@dataclass
class _Asked:
    """What one thread has asked."""

    messages: list[Message]
    timeout: float | None
    replies: list[Message] = field(default_factory=list)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


class SharedGrid(RunGrid):
    """Passes everything on to ``grid``. ``ended`` is set with the ``reason`` that the run is not to go on."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid.run.run_id)
        self._grid = grid
        self._turn = threading.Lock()
        self._queue: SimpleQueue[_Asked] = SimpleQueue()
        self._known: list[int] = []
        self.ended = threading.Event()
        self.reason: Exception | None = None

    def get_node_ids(self) -> list[int]:
        """The nodes that are ready; while messages are on their way, those that were last.

        Raises:
            RunNotRunning: the run is not to go on, which ends Flower's own thread that looks for nodes.
        """
        if self._turn.acquire(blocking=not self._known):
            try:
                self._known = self._noting(self._ready, (*ENDS, FedOpsError))
            except (*ENDS, FedOpsError):
                raise RunNotRunning from None
            finally:
                self._turn.release()
        return list(self._known)

    def _ready(self) -> list[int]:
        return list(self._grid.get_node_ids())

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        given = list(messages)
        with self._turn:
            return self._noting(lambda: list(self._grid.push_messages(given)))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        given = list(message_ids)
        with self._turn:
            return self._noting(lambda: list(self._grid.pull_messages(given)))

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for their replies, together with what other threads send now."""
        asked = _Asked(list(messages), timeout)
        self._queue.put(asked)
        time.sleep(_GATHER_SECONDS)
        with self._turn:
            if not asked.done.is_set():
                self._send_all()
        if asked.error is not None:
            raise asked.error
        return asked.replies

    def _send_all(self) -> None:
        """All that waits, in the turn of one of those who wait. Those with one timeout go together."""
        waiting = []
        with contextlib.suppress(Empty):
            while True:
                waiting.append(self._queue.get_nowait())
        for timeout in dict.fromkeys(asked.timeout for asked in waiting):
            self._send([asked for asked in waiting if asked.timeout == timeout], timeout)

    def _send(self, together: list[_Asked], timeout: float | None) -> None:
        messages = [message for asked in together for message in asked.messages]
        try:
            replies = self._noting(
                lambda: list(self._grid.send_and_receive(messages, timeout=timeout))
            )
        except Exception as error:  # whatever it is, each of those who wait raises it
            for asked in together:
                asked.error = error
        else:
            _hand_out(replies, together)
        for asked in together:
            asked.done.set()

    def _noting(self, call: Callable[[], T], ends: tuple[type[Exception], ...] = ENDS) -> T:
        """The call's result; what ends the run is noted, and ends every later call."""
        if self.reason is not None:
            raise self.reason
        try:
            return call()
        except ends as error:
            self.reason = error
            self.ended.set()
            raise


def _hand_out(replies: list[Message], together: list[_Asked]) -> None:
    """Each thread gets the replies of the nodes that it asked."""
    left = list(replies)
    for asked in together:
        for message in asked.messages:
            node = message.metadata.dst_node_id
            found = next((r for r in left if r.metadata.src_node_id == node), None)
            if found is not None:
                asked.replies.append(found)
                left.remove(found)
