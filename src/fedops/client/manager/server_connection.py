"""The way to the server and back: one long poll that is always open, and short ones with news for it.

What the server wants is level-triggered, so an answer that is lost or comes twice does no harm.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from fedops.api_client import LONG_POLL_SECONDS, WorkClient
from fedops.client.work.reachability import Reachability, as_failure, backoff, is_final
from fedops.core.contracts import HeldAssignment, Progress, Work, WorkPoll
from fedops.core.errors import Conflict, FedOpsError, NotFound, Unavailable

logger = logging.getLogger("fedops.client")

#: How long a poll waits until the server says otherwise, and at least when something on the way cuts it.
POLL_SECONDS = 4.0
SHORTEST_POLL_SECONDS = 1.0
#: An answer that came at once and changed nothing is not asked for again sooner. Seconds.
IDLE_PAUSE_SECONDS = 1.5
#: Between two measurements of the device, before the server was heard.
TELEMETRY_SECONDS = 10.0
#: A stage is told beside the polls once it has lasted so long, and no two sooner. Seconds.
PROGRESS_SECONDS = 0.3
_AT_ONCE = 0.3


class ServerConnection:
    """Keeps a device and its server informed of each other.

    ``on_work`` is called with each answer, from two threads, one at a time; it returns whether there was
    something new in it that could be done. ``on_refused``: the server will have nothing more to do with this
    device.
    """

    def __init__(
        self,
        poll_client: WorkClient,
        news_client: WorkClient,
        reach: Reachability,
        say: Callable[[int, float], WorkPoll],
        on_work: Callable[[Work], bool],
        on_refused: Callable[[FedOpsError], None],
    ) -> None:
        self._poll_client = poll_client
        self._news_client = news_client
        self._reach = reach
        self._say = say
        self._on_work = on_work
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._news = threading.Event()
        self._done = threading.Event()
        self._longest = LONG_POLL_SECONDS
        self._work: Work | None = None
        self._told: dict[str, HeldAssignment] = {}
        self._started = False
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (("work", self._follow), ("news", self._tell))
        ]

    def start(self) -> None:
        """Begin. Repeating is harmless."""
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """Let the threads end. One that waits for the server may take its time and is not waited for."""
        self._stopped.set()
        self._news.set()
        self._done.set()
        self._reach.wake()

    def tell_now(self) -> None:
        """Something changed that the server waits for: say so beside the long poll."""
        self._news.set()

    def work_done(self) -> None:
        """Work is over that the server or another offer may wait for."""
        self._done.set()

    @property
    def wanted(self) -> Work | None:
        """What the server wanted when it was last heard."""
        return self._work

    @property
    def only_run(self) -> int | None:
        """The run that goes on in the tasks of this device, if it is one."""
        runs = self._work.runs if self._work else []
        return runs[0] if len(runs) == 1 else None

    @property
    def telemetry_seconds(self) -> float:
        """How often the device is measured."""
        return self._work.telemetry_seconds if self._work else TELEMETRY_SECONDS

    def goodbye(self) -> None:
        """Say how we are a last time. Raises what is wrong with the server, if something is."""
        self._news_client.work(self._say(-1, 0.0))

    # --- the long poll -----------------------------------------------------------------------------

    def _follow(self) -> None:
        pauses = backoff(cap=POLL_SECONDS)
        while not self._stopped.is_set():
            begin = time.monotonic()
            self._done.clear()
            try:
                news = self._ask(self._poll_client, self._wait())
                pauses = backoff(cap=POLL_SECONDS)
                self._longest = min(self._longest * 1.1, LONG_POLL_SECONDS)
                if not news and time.monotonic() - begin < _AT_ONCE:
                    self._done.wait(IDLE_PAUSE_SECONDS)
            except Exception as error:
                failure = as_failure(error)
                self._shorten(time.monotonic() - begin, failure)
                self._failed(failure)
                self._reach.pause(next(pauses), self._stopped.is_set)

    def _wait(self) -> float:
        seconds = self._work.poll_seconds if self._work else POLL_SECONDS
        return min(seconds, self._longest)

    def _shorten(self, lasted: float, error: FedOpsError) -> None:
        """Something on the way does not let calls wait so long."""
        if isinstance(error, Unavailable) and SHORTEST_POLL_SECONDS < lasted <= self._wait() + 1.0:
            self._longest = max(lasted * 0.7, SHORTEST_POLL_SECONDS)

    def _ask(self, client: WorkClient, wait: float) -> bool:
        """One poll; whether its answer brought something."""
        before = self._work
        held = self._say(before.revision if before else -1, wait)
        work = client.work(held)
        self._told = {item.id: item for item in held.held}
        self._reach.answered()
        return self._apply(work, before)

    def _apply(self, work: Work, before: Work | None) -> bool:
        with self._lock:
            if self._stopped.is_set():
                return False
            self._work = work
            return self._on_work(work) or before is None or work.revision != before.revision

    def _failed(self, error: FedOpsError) -> None:
        if self._stopped.is_set():
            return
        if is_final(error) or isinstance(error, NotFound):
            self._on_refused(error)
        else:
            self._reach.failed(error)

    # --- beside it ---------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Say what cannot wait until the long poll comes back, and how far the work is."""
        while not self._stopped.is_set():
            hasty = self._news.wait(PROGRESS_SECONDS)
            self._news.clear()
            if self._stopped.is_set() or self._reach.reach.reachable is not True:
                continue
            try:
                if hasty:
                    self._ask(self._news_client, 0.0)
                else:
                    self._tell_progress()
            except Exception as error:
                self._failed(as_failure(error))

    def _tell_progress(self) -> None:
        for item in self._say(-1, 0.0).held:
            told = self._told.get(item.id)
            if told is not None and told.stage is item.stage and told.text == item.text:
                continue  # numbers go with the polls
            progress = Progress(stage=item.stage, done=item.done, total=item.total, text=item.text)
            self._told[item.id] = item
            with contextlib.suppress(Conflict, NotFound):  # it is over: the next poll says so
                self._news_client.progress(item.id, progress)
