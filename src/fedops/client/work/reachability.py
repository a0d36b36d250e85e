"""Whether the server answers, since when; and trying again until it does."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from fedops.api_client import OtherVersion, TryLater
from fedops.core.backoff import pauses
from fedops.core.errors import FedOpsError, Forbidden, Unavailable

logger = logging.getLogger("fedops.client")

T = TypeVar("T")
RETRY_CAP = 8.0


class Over(Exception):
    """What was to be done is not wanted any more."""


@dataclass(frozen=True)
class Reach:
    """Whether the server answers, since when, and what is wrong if not."""

    reachable: bool | None = None  #: None: not tried yet
    since: float = 0.0  #: by the monotonic clock
    problem: str = ""

    @property
    def seconds(self) -> float:
        """How long it has been so."""
        return time.monotonic() - self.since if self.since else 0.0


class Reachability:
    """What the calls to one server found out. A change is said once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._changed = threading.Condition()
        self._reach = Reach()
        self._comebacks = 0

    @property
    def reach(self) -> Reach:
        return self._reach

    def failed(self, error: FedOpsError) -> None:
        """A call found nobody."""
        with self._changed:
            before = self._reach
            first = before.reachable is not False
            self._reach = Reach(False, time.monotonic() if first else before.since, error.message)
        if first:  # said without the lock: a signal's handler may want it while something is logged
            logger.warning("%s; training goes on, trying again", error.message)

    def answered(self) -> None:
        """A call was answered. Who waits to try again does so now."""
        with self._changed:
            before = self._reach
            if before.reachable is True:
                return
            self._reach = Reach(True, time.monotonic())
            self._comebacks += 1
            self._changed.notify_all()
        away = f" after {before.seconds:.0f} s" if before.since else ""
        logger.info("the server at %s is reachable%s", self._url, away)

    def pause(self, seconds: float, over: Callable[[], bool]) -> None:
        """Wait to try again; not so long when the server has come back, or when it is ``over``."""
        with self._changed:
            seen = self._comebacks
            self._changed.wait_for(lambda: over() or self._comebacks != seen, seconds)

    def wake(self) -> None:
        """Let who waits look whether it is over."""
        with self._changed:
            self._changed.notify_all()

    def insist(
        self,
        call: Callable[[], T],
        over: Callable[[], bool],
        waiting: Callable[[FedOpsError], None] = lambda _: None,
    ) -> T:
        """Call until it is answered. ``waiting`` is told why not yet.

        Raises:
            Over: it is ``over``.
            FedOpsError: what trying again cannot mend.
        """
        for pause in backoff():
            if over():
                raise Over
            try:
                result = call()
            except FedOpsError as error:
                if not may_pass(error):
                    raise
                waiting(error)
                asked = error.seconds if isinstance(error, TryLater) else None
                self.pause(pause if asked is None else asked * random.uniform(1.0, 1.3), over)
            else:
                self.answered()
                return result
        raise AssertionError("the pauses never end")


def may_pass(error: FedOpsError) -> bool:
    """Whether the same call may be answered another time: nobody was there, or the server erred."""
    return isinstance(error, Unavailable) or type(error) is FedOpsError


def as_failure(error: Exception) -> FedOpsError:
    """What went wrong with a call. A mistake of FedOps' own is logged, and no device falls silent over it."""
    if isinstance(error, FedOpsError):
        return error
    logger.error("talking to the server failed, and is tried again", exc_info=error)
    return Unavailable(f"this Client Manager made a mistake: {type(error).__name__}: {error}")


def is_final(error: FedOpsError) -> bool:
    """Whether the server will have nothing to do with this device (any more)."""
    return isinstance(error, Forbidden | OtherVersion)


def backoff(*, first: float = 0.5, cap: float = RETRY_CAP) -> Iterator[float]:
    """Growing pauses with some chance in them, so that a thousand devices do not come back at once."""
    return (pause * random.uniform(0.7, 1.3) for pause in pauses(first, cap))
