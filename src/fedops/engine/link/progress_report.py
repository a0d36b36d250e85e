"""What the engine is doing, said from a thread of its own, so that no round waits for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from fedops.core.contracts import EngineProgress
from fedops.core.errors import FedOpsError
from fedops.processes.threads import in_thread

#: Between two words. Seconds.
INTERVAL = 0.2
#: When nothing is new the same is said again after so long, as a sign of life. Seconds.
SAY_AGAIN = 5.0


class ProgressReport:
    """Sends the newest word; what was overtaken by a newer one is not said."""

    def __init__(
        self,
        send: Callable[[EngineProgress], None],
        *,
        interval: float = INTERVAL,
        again: float = SAY_AGAIN,
    ) -> None:
        self._send = send
        self._interval = interval
        self._again = again
        self._now: EngineProgress | None = None
        self._is_new = False
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread = in_thread(self._run, name="progress")

    def say(self, progress: EngineProgress) -> None:
        """Say this as soon as may be, unless it was just said."""
        with self._changed:
            if progress != self._now:
                self._now, self._is_new = progress, True
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
        """The next word; None when there is none any more."""
        with self._changed:
            while not self._is_new and not self._closed.is_set():
                waited = self._changed.wait(self._again)
                if not waited and self._now is not None:
                    return self._now
            if not self._is_new:
                return None
            self._is_new = False
            return self._now
