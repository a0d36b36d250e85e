"""The way to the server and back: heartbeats, the desired state, and whether the server is reachable.

Three threads that training never blocks: one says how we are, one waits for what the server wants, one
empties the spool. None of them ever gives up; a change of reachability is said once.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fedops.api_client import DeviceClient
from fedops.client.spool import Spool
from fedops.core.contracts import Desired, DeviceRecord, Heartbeat, RecordBatch
from fedops.core.errors import FedOpsError, Forbidden, Invalid, NotFound
from fedops.failpoints import reached

logger = logging.getLogger("fedops.client")

HEARTBEAT_SECONDS = 4.0  #: until the server says otherwise
_RETRY_CAP = 4.0
#: Two heartbeats that changes ask for are at least this far apart. Seconds.
_MIN_GAP = 0.1


@dataclass(frozen=True)
class Reach:
    """Whether the server answers, since when, and what is wrong if not."""

    reachable: bool | None = None  #: None: not tried yet
    since: float = 0.0  #: POSIX time
    problem: str = ""


class Link:
    """Keeps a device and its server informed of each other.

    ``on_desired`` is called from two threads, one at a time, with each state that is newer;
    ``on_refused`` when the server will have nothing more to do with this device.
    """

    def __init__(
        self,
        client: DeviceClient,
        spool: Spool,
        heartbeat: Callable[[], Heartbeat],
        on_desired: Callable[[Desired], None],
        on_refused: Callable[[FedOpsError], None],
    ) -> None:
        self._client = client
        self._spool = spool
        self._heartbeat = heartbeat
        self._on_desired = on_desired
        self._on_refused = on_refused
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._due = threading.Event()
        self._reached = threading.Event()
        self._reach = Reach()
        self._desired: Desired | None = None
        self._applied_at = 0.0
        self._clock_offset = 0.0
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (
                ("heartbeat", self._beat),
                ("desired", self._follow),
                ("spool", self._send),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the threads end. One that waits for the server may take its time and is not waited for."""
        self._stopped.set()
        self._due.set()
        self._reached.set()

    def beat_now(self) -> None:
        """Something changed that the server should know."""
        self._due.set()

    @property
    def reach(self) -> Reach:
        return self._reach

    @property
    def desired(self) -> Desired | None:
        """What the server wanted when it was last heard."""
        return self._desired

    @property
    def clock_offset(self) -> float:
        """Seconds to add to this machine's clock to get the server's."""
        return self._clock_offset

    # --- heartbeats --------------------------------------------------------------------------------

    def _beat(self) -> None:
        pauses = _backoff(_RETRY_CAP)
        while not self._stopped.is_set():
            self._due.clear()
            if self._say_how_we_are():
                pauses = _backoff(_RETRY_CAP)
                self._stopped.wait(_MIN_GAP)
                self._due.wait(self._interval - _MIN_GAP)
            else:
                self._stopped.wait(next(pauses))

    @property
    def _interval(self) -> float:
        return self._desired.heartbeat_seconds if self._desired else HEARTBEAT_SECONDS

    def _say_how_we_are(self) -> bool:
        begin, asked_at = time.time(), time.monotonic()
        try:
            desired = self._client.heartbeat(self._heartbeat())
        except FedOpsError as error:
            self._failed(error)
            return False
        if desired.server_time:
            self._clock_offset = desired.server_time - (begin + time.time()) / 2
        self._answered()
        self._apply(desired, asked_at)
        return True

    # --- the desired state -------------------------------------------------------------------------

    def _follow(self) -> None:
        pauses = _backoff(_RETRY_CAP)
        while not self._stopped.is_set():
            if not self._reached.wait(1.0):
                continue  # the heartbeats find out when there is somebody to wait for
            try:
                after = self._desired.revision if self._desired else 0
                desired = self._client.desired(after)
                pauses = _backoff(_RETRY_CAP)
                self._apply(desired, None)
            except FedOpsError as error:
                self._failed(error)
                self._stopped.wait(next(pauses))

    def _apply(self, desired: Desired, asked_at: float | None) -> None:
        """Take over what the server wants, unless we know of something newer.

        An answer is newer when its revision is; or when it was asked for after the last one had come,
        even if its revision is lower: then the server has begun to count anew.
        """
        with self._lock:
            older = self._desired is not None and desired.revision < self._desired.revision
            if older and (asked_at is None or asked_at < self._applied_at):
                return
            self._desired, self._applied_at = desired, time.monotonic()
            if not self._stopped.is_set():
                self._on_desired(desired)

    # --- reachability ------------------------------------------------------------------------------

    def _failed(self, error: FedOpsError) -> None:
        if self._stopped.is_set():
            return
        if isinstance(error, (Forbidden, NotFound)):
            self._on_refused(error)
            return
        with self._lock:
            if self._reach.reachable is not False:
                self._reach = Reach(False, time.time(), error.message)
                self._reached.clear()
                logger.warning("%s; training goes on, trying again", error.message)
            else:
                self._reach = Reach(False, self._reach.since, error.message)

    def _answered(self) -> None:
        with self._lock:
            before = self._reach
            if before.reachable is not True:
                self._reach = Reach(True, time.time())
                away = f" after {time.time() - before.since:.0f} s" if before.since else ""
                logger.info("the server at %s is reachable%s", self._client.url, away)
        self._reached.set()

    # --- the spool ---------------------------------------------------------------------------------

    def _send(self) -> None:
        pauses = _backoff(_RETRY_CAP)
        while not self._stopped.is_set():
            if not self._spool.wait(1.0) or not self._reached.wait(1.0):
                continue
            try:
                self.send_batch()
                pauses = _backoff(_RETRY_CAP)
            except (FedOpsError, sqlite3.Error) as error:
                if self._stopped.is_set():
                    return
                logger.debug("records are kept for later: %s", error)
                self._stopped.wait(next(pauses))

    def send_batch(self) -> None:
        """Deliver the oldest records; forget them once the server has them, or refuses them for good."""
        batch = self._spool.batch()
        if batch:
            try:
                self._deliver(batch)
            except Invalid as error:
                self._deliver_one_by_one(batch, error)

    def _deliver(self, batch: Sequence[DeviceRecord]) -> None:
        reply = self._client.records(RecordBatch(records=list(batch)))
        reached("manager.records.sent")
        if reply.refused:
            logger.warning("the server refused %d records: %s", len(reply.refused), reply.refused)
        self._spool.done(record.id for record in batch)

    def _deliver_one_by_one(self, batch: Sequence[DeviceRecord], error: Invalid) -> None:
        """One record that the server can never take must not hold up the others."""
        for record in batch:
            try:
                self._deliver([record])
            except Invalid:
                logger.warning("the server cannot take record '%s': %s", record.name, error)
                self._spool.done([record.id])

    def flush(self, seconds: float) -> None:
        """Try for a while to deliver what waits, before the end."""
        deadline = time.monotonic() + seconds
        try:
            while self._spool.count and time.monotonic() < deadline:
                self.send_batch()
        except (FedOpsError, sqlite3.Error) as error:
            logger.debug("%d records are kept for next time: %s", self._spool.count, error)


def _backoff(cap: float) -> Iterator[float]:
    """Growing pauses with some chance in them, so that a thousand devices do not come back at once."""
    pause = 0.5
    while True:
        yield pause * random.uniform(0.7, 1.3)
        pause = min(pause * 2, cap)
