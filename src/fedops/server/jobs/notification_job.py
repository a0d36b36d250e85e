"""Tells people what happens: looks for it, and sends messages in a few threads beside everything else.

Of several Server Managers that share a database, the one that leads acts.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from fedops.core.errors import FedOpsError
from fedops.server.database.database import Database
from fedops.server.jobs.leadership import Alone, Leadership
from fedops.server.jobs.periodic import PeriodicJob
from fedops.server.notifications import looking, outbox
from fedops.server.notifications.channel_secrets import ChannelSecrets
from fedops.server.notifications.outbox import Claimed
from fedops.server.notifications.sending import deliver
from fedops.settings import ServerSettings

logger = logging.getLogger("fedops.server.notifications")
STEP_SECONDS = 2.0
#: The same, however many messages were just sent.
LEAST_SECONDS = 0.2
#: So many channels are sent to at a time.
THREADS = 8
#: When the server ends, who takes longer is not waited for: the message is sent again after the next start.
END_SECONDS = 2.0
#: How often it is looked for messages to give up or to forget. Seconds.
OLD_SECONDS = 600.0


class NotificationJob:
    """Nothing waits for it: a receiver that hangs has one thread until its time is over."""

    def __init__(
        self,
        db: Database,
        settings: ServerSettings,
        *,
        clock: Callable[[], float] = time.time,
        leadership: Leadership | None = None,
    ) -> None:
        self._db = db
        self._settings = settings
        #: Where the secrets of channels are.
        self.secrets = ChannelSecrets(settings.home / "notifications")
        self._clock = clock
        self._leadership = leadership or Alone()
        self._old_at = float("-inf")
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="notification")
        #: The channels that are sent to just now.
        self._sending: dict[str, Future[None]] = {}
        self._lock = threading.Lock()
        self._loop = PeriodicJob("notifications", self.step, STEP_SECONDS, least=LEAST_SECONDS)
        self.wake = self._loop.wake

    # --- a worker of the server ----------------------------------------------------------------

    @property
    def lags(self) -> dict[str, float]:
        return self._loop.lags

    def start(self) -> None:
        self._loop.start()

    def end(self) -> None:
        """Begin nothing more. Does not wait."""
        self._loop.end()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self, seconds: float) -> None:
        """Wait until what goes on has ended, but not for longer; for a receiver that hangs, a moment."""
        self._loop.join(seconds)
        self.settle(min(seconds, END_SECONDS))

    # --- a step --------------------------------------------------------------------------------

    def step(self) -> None:
        """One look, and what is due is sent. Called by the worker, or by a test."""
        if not self._leadership.leads:
            return
        try:
            self._look()
            self._tidy()
        finally:
            self._send()

    def settle(self, seconds: float) -> None:
        """Wait until what is being sent is sent or has failed."""
        with self._lock:
            open_ = list(self._sending.values())
        wait(open_, seconds)

    def _look(self) -> None:
        now = self._clock()
        with self._db.read() as session:
            plan = looking.look(session, self._settings, now)
        if plan.is_news:
            with self._db.write() as session:
                self._leadership.confirm(session)
                looking.write(session, plan, now)

    def _tidy(self) -> None:
        now = self._clock()
        if 0 <= now - self._old_at < OLD_SECONDS:
            return
        self._old_at = now
        with self._db.read() as session:
            old = outbox.is_any_old(session, now)
        if old:
            with self._db.write() as session:
                outbox.give_up_old(session, now)
                outbox.forget_old(session, now)

    def _send(self) -> None:
        now = self._clock()
        with self._lock:
            busy = set(self._sending)
        if len(busy) >= THREADS:
            return
        with self._db.read() as session:
            due = outbox.due_messages(session, now, THREADS - len(busy), busy)
        if not due:
            return
        with self._db.write() as session:
            self._leadership.confirm(session)
            claimed = outbox.claim(session, due, now)
        for one in claimed:
            self._submit(one)

    def _submit(self, one: Claimed) -> None:
        with self._lock:
            try:
                self._sending[one.channel] = self._pool.submit(self._deliver, one)
            except (
                RuntimeError
            ):  # the server ends: its claim runs out, and it is sent after the next start
                return

    def _deliver(self, one: Claimed) -> None:
        try:
            outcome = deliver(one, self.secrets, self._settings.url, self._clock())
            with self._db.write() as session:
                outbox.settle(session, one, outcome, self._clock(), random.random())
        except FedOpsError as error:  # it stays claimed, and is sent again later
            logger.warning("channel %s: %s", one.channel, error.message)
        finally:
            with self._lock:
                self._sending.pop(one.channel, None)
            self._loop.wake()
