"""All that a round engine waits for, in one queue: signals, fetched replies, commands, the end of Flower."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from flwr.serverapp import Grid
from flwr.supercore.run import RunNotRunningException

from fedops.core.contracts import Signal, Signals
from fedops.core.errors import Conflict, FedOpsError, Unavailable
from fedops.flower.endings import Leave, Lost, Superseded
from fedops.flower.patience import PATIENCE_SECONDS

#: How often Flower is asked whether our run still lives: a stopped run is noticed by any call. Seconds.
LOOK_SECONDS = 1.0
#: How long a call for signals is held. Each is a sign of life, so several must fit in the time after which
#: the Server Manager takes a silent ServerApp for hung. Seconds.
POLL_SECONDS = 8.0
_PAUSE_SECONDS = 0.5
OUTCOMES: dict[str, Literal["stopped", "paused"]] = {"stop": "stopped", "pause": "paused"}


@dataclass(frozen=True)
class Fetched:
    """The reply to a message was fetched and dealt with, or could not be."""

    reply_to: str
    result: Any = None
    error: Exception | None = None


class SignalSource(Protocol):
    """Where signals come from: ``EngineClient``."""

    def signals(self, after: int, wait: float = ...) -> Signals: ...


class Inbox:
    """Any thread may post; the engine takes."""

    def __init__(
        self, source: SignalSource, grid: Grid, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._queue: queue.SimpleQueue[Signal | Fetched | Exception] = queue.SimpleQueue()
        self._source = source
        self._grid = grid
        self._patience = patience_seconds
        self._closed = threading.Event()
        self._ended: Exception | None = None
        self._on_end: list[Callable[[], None]] = []

    def open(self, on_end: Callable[[], None] = lambda: None) -> None:
        """Begin to listen. ``on_end`` is called, in another thread, when the attempt is to end."""
        self._on_end.append(on_end)
        for work in (self._listen, self._look_at_flower):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()

    def post(self, item: Fetched) -> None:
        self._queue.put(item)

    def take(self, timeout: float) -> Signal | Fetched | None:
        """The next item, None when there is none in time.

        Raises:
            Leave, Superseded, Lost, Unavailable: the attempt is to end. It stays so.
        """
        if self._ended is None:
            try:
                item = self._queue.get(timeout=max(timeout, 0.0))
            except queue.Empty:
                return None
            if not isinstance(item, Exception):
                return item
            self._ended = item
        raise self._ended

    def _end(self, error: Exception) -> None:
        self._closed.set()
        self._queue.put(error)
        for call in self._on_end:
            call()

    def _listen(self) -> None:
        """Follow the signals of the attempt."""
        after, last, reached = 0, list[Signal](), time.monotonic()
        while not self._closed.is_set():
            try:
                reply = self._source.signals(after, POLL_SECONDS)
            except Conflict as error:
                return self._end(Superseded(str(error)))
            except Unavailable as error:
                # A restarted server counts its signals from the beginning again.
                after = 0
                if time.monotonic() > reached + self._patience:
                    return self._end(error)
                self._closed.wait(_PAUSE_SECONDS)
                continue
            except FedOpsError as error:
                return self._end(error)
            reached = time.monotonic()
            fresh = [signal for signal in reply.signals if signal not in last]
            for signal in fresh:
                self._queue.put(signal)
            if reply.signals:
                after, last = reply.signals[-1].sequence, reply.signals
            if reply.command in OUTCOMES:
                return self._end(Leave(OUTCOMES[reply.command]))

    def _look_at_flower(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            try:
                self._grid.get_node_ids()
            except (Exception, RunNotRunningException) as error:
                return self._end(Lost(f"Flower has ended the attempt: {error}"))
