"""Calls of the Server Manager that outlast its restart."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from fedops.core.errors import Conflict, Unavailable
from fedops.flower.endings import Superseded

logger = logging.getLogger("fedops.engine")
T = TypeVar("T")

#: How long an unreachable Server Manager is waited for. Seconds.
PATIENCE_SECONDS = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Patience:
    """Repeats a call while the Server Manager is away. Calls must be safe to repeat."""

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        self._seconds = seconds
        self._over = threading.Event()

    def end(self) -> None:
        """Let every waiting call fail now."""
        self._over.set()

    def call(self, call: Callable[[], T]) -> T:
        """The call's result.

        Raises:
            Superseded: this attempt does not count any more.
            Unavailable: the Server Manager stayed away for too long.
        """
        deadline, pause = time.monotonic() + self._seconds, _FIRST_PAUSE
        while True:
            try:
                return call()
            except Conflict as error:
                raise Superseded(str(error)) from None
            except Unavailable as error:
                if self._over.is_set() or time.monotonic() > deadline:
                    raise
                logger.warning("%s; trying again", error)
            self._over.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def try_once(self, call: Callable[[], object]) -> None:
        """A call that may get lost while the Server Manager is away."""
        try:
            call()
        except Conflict as error:
            raise Superseded(str(error)) from None
        except Unavailable as error:
            logger.debug("not delivered: %s", error)
