"""What the engine is doing, said from a thread of its own, so that no round waits for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from fedops.core.contracts import EngineProgress
from fedops.core.errors import FedOpsError

#: Between two words. Seconds.
INTERVAL = 0.2
#: The same is said again after so long: whoever waits is still alive. Seconds.
SAY_AGAIN = 5.0


class ProgressReport:
    """Sends the newest word; what was overtaken by a newer one is not said."""

    def __init__(self, send: Callable[[EngineProgress], None], interval: float = INTERVAL) -> None:
        self._send = send
        self._interval = interval
        self._next: EngineProgress | None = None
        self._said: tuple[EngineProgress, float] | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def say(self, progress: EngineProgress) -> None:
        """Say this as soon as may be, unless it was just said."""
        said, at = self._said or (None, 0.0)
        if progress == said and time.monotonic() < at + SAY_AGAIN:
            return
        with self._changed:
            self._said = (progress, time.monotonic())
            self._next = progress
            self._changed.notify()

    def close(self) -> None:
        """Say what is left, and nothing more."""
        self._closed.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(5.0)

    def _run(self) -> None:
        while (progress := self._take()) is not None:
            with contextlib.suppress(FedOpsError):  # other calls notice what is wrong
                self._send(progress)
            self._closed.wait(self._interval)

    def _take(self) -> EngineProgress | None:
        with self._changed:
            self._changed.wait_for(lambda: self._next is not None or self._closed.is_set())
            progress, self._next = self._next, None
            return progress
