"""Errors as they leave the server, whatever serves them: the body, and what is worth a line in the log."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from fedops.core.contracts import ErrorReply
from fedops.core.errors import FedOpsError, Unavailable
from fedops.server.protocol.refusals import TooMany
from fedops.storage.shortages import shortage_of, shortages

logger = logging.getLogger("fedops.server")

_MOST_SAID = 1_000
#: What an answer of a status carries beside its body.
HEADERS = {
    401: {"www-authenticate": "Bearer"},
    429: {"retry-after": "300"},
    503: {"retry-after": "2"},
}
#: What is said of an error that is a bug of ours.
INTERNAL = ErrorReply(
    kind="error",
    error="InternalError",
    message="the Server Manager met an error of its own; its log has the details",
)


def headers_of(error: FedOpsError) -> dict[str, str]:
    """What an answer with this error carries."""
    told = dict(HEADERS.get(error.http_status, {}))
    if isinstance(error, TooMany):
        told["retry-after"] = str(math.ceil(error.retry_after))
    return told


class Said:
    """What was logged not long ago. Every device meets a full disk every few seconds."""

    def __init__(
        self, *, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._at: dict[str, float] = {}

    def is_news(self, text: str) -> bool:
        """Whether to log it now. May be called by any thread: at worst it is said twice."""
        now = self._clock()
        if now - self._at.get(text, float("-inf")) < self._seconds:
            return False
        if len(self._at) >= _MOST_SAID:
            self._at = {}
        self._at[text] = now
        return True


_said = Said()


def log_trouble(error: FedOpsError) -> None:
    """A line in the log for an error that is the server's own, once a minute for all that meet it."""
    if error.http_status >= 500 and _said.is_news(error.message):
        logger.warning("%s", error.message)


def as_shortage(error: BaseException) -> Unavailable | None:
    """The error of a machine that lacks something, such as memory, is no bug of ours: noted, and said."""
    shortage = shortage_of(error, getattr(error, "filename", None) or "")
    if shortage is None:
        return None
    shortages.note(shortage)
    return Unavailable(f"{shortage.named()}; {shortage.remedy} and repeat")
