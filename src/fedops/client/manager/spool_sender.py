"""Empties the spool: the oldest records first, forgotten once the server has them."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence

from fedops.api_client import DeviceClient
from fedops.client.manager.server_connection import ServerConnection
from fedops.client.spool.spool import BATCH_RECORDS, Spool
from fedops.client.work.reachability import Reachability, as_failure, backoff
from fedops.core.contracts import DeviceRecord, RecordBatch
from fedops.core.errors import FedOpsError, Invalid
from fedops.failpoints import reached
from fedops.waiting import Timeout

logger = logging.getLogger("fedops.client")

RETRY_CAP = 4.0
#: What is reported within so long goes in one call. Seconds.
TOGETHER_SECONDS = 1.0
#: How long a Client Manager that ends tries to say so.
GOODBYE_SECONDS = 1.5


class SpoolSender:
    """One thread, that training never waits for."""

    def __init__(self, client: DeviceClient, spool: Spool, reach: Reachability) -> None:
        self._client = client
        self._spool = spool
        self._reach = reach
        self._stopped = threading.Event()
        #: How many records the server did not keep. Said once.
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end. It is not waited for."""
        self._stopped.set()

    def flush(self, seconds: float) -> None:
        """Try for a while to deliver what waits, before the end."""
        timeout = Timeout(seconds)
        try:
            while self._spool.count and not timeout.is_over:
                self.send_batch()
        except (FedOpsError, sqlite3.Error) as error:
            logger.debug("%d records are kept for next time: %s", self._spool.count, error)

    def send_batch(self) -> None:
        """Deliver the oldest records; forget them once the server has them, or refuses them for good."""
        batch = self._spool.batch()
        if batch:
            try:
                self._deliver(batch)
            except Invalid as error:
                self._deliver_one_by_one(batch, error)

    def _run(self) -> None:
        pauses = backoff(cap=RETRY_CAP)
        while not self._stopped.is_set():
            if not self._spool.wait(1.0):
                continue
            if self._reach.reach.reachable is not True:
                self._reach.pause(1.0, self._stopped.is_set)
                continue
            try:
                self.send_batch()
                pauses = backoff(cap=RETRY_CAP)
                self._stopped.wait(TOGETHER_SECONDS if self._spool.count < BATCH_RECORDS else 0.0)
            except Exception as error:
                if self._stopped.is_set():
                    return
                if not isinstance(error, sqlite3.Error):
                    error = as_failure(error)
                logger.debug("records are kept for later: %s", error)
                self._stopped.wait(next(pauses))

    def _deliver(self, batch: Sequence[DeviceRecord]) -> None:
        reply = self._client.records(RecordBatch(records=list(batch)))
        reached("manager.records.sent")
        if reply.refused:
            logger.warning("the server refused %d records: %s", len(reply.refused), reply.refused)
        if reply.dropped and not self._dropped:
            logger.warning("the server keeps fewer log lines and metrics than this device reports")
        self._dropped += reply.dropped
        self._spool.done(record.id for record in batch)

    def _deliver_one_by_one(self, batch: Sequence[DeviceRecord], error: Invalid) -> None:
        """One record that the server can never take must not hold up the others."""
        for record in batch:
            try:
                self._deliver([record])
            except Invalid:
                logger.warning("the server cannot take record '%s': %s", record.name, error)
                self._spool.done([record.id])


def say_goodbye(server: ServerConnection, sender: SpoolSender, reach: Reachability) -> None:
    """Say how we are a last time, and send what waits, if the server is there."""
    if reach.reach.reachable:
        try:
            server.goodbye()
            sender.flush(GOODBYE_SECONDS)
        except FedOpsError as error:
            logger.debug("the server did not hear our goodbye: %s", error.message)
