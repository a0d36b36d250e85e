"""Calls of the Server Manager that outlast a moment in which it does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from fedops.core.backoff import pauses
from fedops.core.errors import Unavailable

logger = logging.getLogger("fedops.engine")
T = TypeVar("T")

#: How long an unreachable Server Manager is waited for. Seconds.
RETRY_SECONDS = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class ServerRetry:
    """Repeats a call while the Server Manager is away. Calls must be safe to repeat."""

    def __init__(self, seconds: float = RETRY_SECONDS) -> None:
        self._seconds = seconds

    def call(self, call: Callable[[], T]) -> T:
        """The call's result.

        Raises:
            AttemptSuperseded: this attempt does not count any more.
            Unavailable: the Server Manager stayed away for too long.
        """
        deadline = time.monotonic() + self._seconds
        waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                return call()
            except Unavailable as error:
                if time.monotonic() > deadline:
                    raise
                logger.warning("%s; trying again", error)
            time.sleep(next(waits))
