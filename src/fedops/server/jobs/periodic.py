"""A thread that repeats a step: at a steady beat, and at once when woken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from fedops.core.errors import FedOpsError
from fedops.server.protocol.error_replies import as_shortage

logger = logging.getLogger("fedops.server.worker")


class PeriodicJob:
    """Runs ``step`` until it is stopped. What a step raises is logged and does not end it."""

    def __init__(
        self, name: str, step: Callable[[], None], seconds: float, *, least: float = 0.0
    ) -> None:
        self._name = name
        self._step = step
        #: From the end of a step to the next. A step may set it.
        self.seconds = seconds
        #: The same, however often it is woken: what happens meanwhile is taken together.
        self._least = least
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._complaint = ""
        #: When the next step is due, on the monotonic clock.
        self._due = float("inf")
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    @property
    def lags(self) -> dict[str, float]:
        """How long the end of a step that is due is overdue, in seconds, by the job's name."""
        return {self._name: max(0.0, time.monotonic() - self._due)}

    def start(self) -> None:
        self._due = time.monotonic()
        self._thread.start()

    def wake(self) -> None:
        """Take the next step now."""
        self._wake.set()

    def end(self) -> None:
        """Let the loop end after the step it is in. Does not wait."""
        self._ending.set()
        self._due = float("inf")
        self._wake.set()

    @property
    def ending(self) -> bool:
        return self._ending.is_set()

    def join(self, seconds: float) -> None:
        """Wait until it has ended."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _loop(self) -> None:
        while not self._ending.is_set():
            self._wake.clear()
            self._try_step()
            self._due = time.monotonic() + max(self.seconds, self._least)
            if self._least:
                self._ending.wait(self._least)
            self._wake.wait(self.seconds)

    def _try_step(self) -> None:
        try:
            self._step()
            self._complaint = ""
        except FedOpsError as error:
            self._complain(error)
        except Exception as error:
            if (lacking := as_shortage(error)) is not None:
                self._complain(lacking)
            else:
                logger.exception("%s: a step failed; the next one follows", self._name)

    def _complain(self, error: FedOpsError) -> None:
        """Once, not at every beat."""
        if error.message != self._complaint:
            logger.warning("%s: %s", self._name, error.message)
        self._complaint = error.message
