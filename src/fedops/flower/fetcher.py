"""Fetching announced replies from Flower: a few at a time, each in a thread of its own.

Flower's pull waits for whatever a dying device has not uploaded, for minutes. So only announced replies are
pulled, and a pull that takes too long is left behind.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore.run import RunNotRunningException

from fedops.core.errors import FedOpsError
from fedops.flower.inbox import Fetched
from fedops.flower.replies import Breakdown

#: A pull that takes longer is given up. Seconds.
FETCH_SECONDS = 120.0
#: From this size on one reply is fetched at a time, so that memory holds no more. Bytes.
LARGE = 16 * 1024 * 1024
_TRIES = 5
_PAUSE_SECONDS = 0.2

#: What is done with a reply, in the fetching thread: its result is posted.
Handle = Callable[[Message], Any]


@dataclass(frozen=True)
class _Job:
    reply_to: str
    handle: Handle | None


class Fetcher:
    """Used by the engine's thread alone; what it starts posts to the inbox."""

    def __init__(
        self,
        grid: Grid,
        release: Callable[[str], None],
        post: Callable[[Fetched], None],
        at_once: int = 2,
    ) -> None:
        self.at_once = at_once
        self._grid = grid
        self._release = release
        self._post = post
        self._waiting: deque[_Job] = deque()
        self._began: dict[str, float] = {}

    def fetch(self, reply_to: str, handle: Handle | None) -> None:
        """Fetch the reply to a message. Without ``handle`` it is thrown away: only its memory is freed."""
        self._waiting.append(_Job(reply_to, handle))
        self._start()

    def settle(self, fetched: Fetched) -> bool:
        """Note that a fetch is over; False when it was given up before."""
        known = self._began.pop(fetched.reply_to, None) is not None
        self._start()
        return known

    def give_up_slow(self) -> list[Fetched]:
        """Those fetches that took too long."""
        now = time.monotonic()
        slow = [r for r, began in self._began.items() if now > began + FETCH_SECONDS]
        why = f"its reply could not be fetched within {FETCH_SECONDS:.0f} s"
        return [Fetched(reply_to, error=Breakdown(why)) for reply_to in slow]

    def _start(self) -> None:
        while self._waiting and len(self._began) < self.at_once:
            job = self._waiting.popleft()
            self._began[job.reply_to] = time.monotonic()
            threading.Thread(target=self._work, args=(job,), name="fetch", daemon=True).start()

    def _work(self, job: _Job) -> None:
        try:
            result = self._handled(job)
            error: Exception | None = None
        except Exception as problem:
            result, error = None, problem
        except RunNotRunningException:
            result, error = None, Breakdown("Flower has ended the attempt")
        if self.at_once == 1:
            gc.collect()  # a large message lies in cycles of Flower's, and the next one comes at once
        self._say_released(job.reply_to)
        self._post(Fetched(job.reply_to, result, error))

    def _handled(self, job: _Job) -> Any:
        message = self._pull(job.reply_to, _TRIES if job.handle else 1)
        return job.handle(message) if job.handle else None

    def _pull(self, reply_to: str, tries: int) -> Message:
        for attempt in range(tries):
            if attempt:
                threading.Event().wait(_PAUSE_SECONDS)
            for message in self._grid.pull_messages([reply_to]):
                return message
        raise Breakdown("its reply was announced, but Flower does not have it")

    def _say_released(self, reply_to: str) -> None:
        # Should it get lost, the slot is freed by its lease or by the attempt's end.
        with contextlib.suppress(FedOpsError):
            self._release(reply_to)
