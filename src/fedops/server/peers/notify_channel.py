"""The connection to PostgreSQL that hears what other Server Managers say, and keeps the lease.

One thread has it and does nothing else, so that it is never late. Whenever it is opened (again), everything
is read anew: what was said meanwhile, nobody heard.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from sqlalchemy import URL, text
from sqlalchemy.orm import Session

from fedops.core.errors import Conflict, Unavailable
from fedops.server.events.notifications import Notice
from fedops.server.peers import notice_encoding
from fedops.server.peers.clock import DatabaseClock
from fedops.server.peers.lease import LOOK_SECONDS, RENEW_SECONDS, Lease, Seen
from fedops.server.peers.notice_encoding import CHANNEL, Heard

logger = logging.getLogger("fedops.server.peers")

#: A connection that is dead is known to be so after about as long. Seconds.
_DEAD_SECONDS = 6
_RETRY_SECONDS = 1.0
_TICK_SECONDS = 0.5
_SAY = text("SELECT pg_notify(:channel, said) FROM unnest(CAST(:texts AS text[])) AS said")


class NotifyChannel:
    """Says and hears. ``heard`` and ``slots_freed`` are called in the line's thread and must not wait."""

    def __init__(
        self,
        url: URL,
        lease: Lease,
        clock: DatabaseClock,
        heard: Callable[[list[Heard]], None],
        slots_freed: Callable[[], None],
    ) -> None:
        self._url = url
        self._lease = lease
        self._clock = clock
        self._heard = heard
        self._slots_freed = slots_freed
        self._ending = threading.Event()
        self._complaint = ""
        self._next_look = float("-inf")
        self._thread = threading.Thread(target=self._loop, name="line", daemon=True)

    # --- saying -------------------------------------------------------------------------------

    def publish(self, session: Session, notices: Sequence[Notice]) -> None:
        """Within a transaction: the others hear it when (and only when) it is committed."""
        texts = notice_encoding.pack(self._lease.me, notices)
        if texts:
            session.execute(_SAY, {"channel": CHANNEL, "texts": texts})

    # --- hearing ------------------------------------------------------------------------------

    def greet(self) -> Seen:
        """Compare the clocks and see who leads. ``Unavailable`` when the database is."""
        try:
            with self._connect() as connection:
                return self._compare(connection, self._lease.peek)
        except psycopg.Error as error:
            raise Unavailable(f"the database is not available: {_said(error)}") from error

    def start(self) -> None:
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Give the lease up and end."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _loop(self) -> None:
        while not self._ending.is_set():
            try:
                self._live()
            except psycopg.Error as error:
                self._complain(_said(error))
                self._lease.check()
                self._ending.wait(_RETRY_SECONDS)
            except Exception:
                logger.exception("the line to the other Server Managers broke; it is opened again")
                self._ending.wait(_RETRY_SECONDS)

    def _live(self) -> None:
        with self._connect() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._next_look = float("-inf")
            self._look_when_due(connection)
            self._heard([Heard(notice_encoding.ALL, [])])
            self._complaint = ""
            while not self._ending.is_set():
                self._take(connection)
                self._look_when_due(connection)
            if self._lease.candidate:
                self._lease.give_up(connection)
                said = notice_encoding.say(self._lease.me, notice_encoding.LEAD)
                connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, said))

    def _take(self, connection: psycopg.Connection[Any]) -> None:
        """Whatever was said since; waits a moment for it."""
        texts = [n.payload for n in connection.notifies(timeout=_TICK_SECONDS, stop_after=1)]
        said = [heard for one in texts if (heard := notice_encoding.unpack(self._lease.me, one))]
        if any(heard.kind == notice_encoding.LEAD for heard in said):
            self._next_look = float("-inf")
        if any(heard.kind == notice_encoding.SLOTS for heard in said):
            self._slots_freed()
        if rest := [heard for heard in said if heard.kind != notice_encoding.SLOTS]:
            self._heard(rest)

    def _look_when_due(self, connection: psycopg.Connection[Any]) -> None:
        now = time.monotonic()
        if now < self._next_look:
            self._lease.check()
            return
        self._compare(connection, self._lease.look)
        self._next_look = now + (RENEW_SECONDS if self._lease.leads else LOOK_SECONDS)

    def _compare(
        self,
        connection: psycopg.Connection[Any],
        look: Callable[[psycopg.Connection[Any]], Seen],
    ) -> Seen:
        asked_at = time.time()
        seen = look(connection)
        answered_at = time.time()
        if answered_at - asked_at < _TICK_SECONDS:
            self._clock.compare(seen.now, asked_at, answered_at)
        return seen

    def _connect(self) -> psycopg.Connection[Any]:
        plain = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(
            plain,
            autocommit=True,
            connect_timeout=_DEAD_SECONDS,
            application_name="fedops line",
            keepalives_idle=_DEAD_SECONDS,
            keepalives_interval=2,
            keepalives_count=2,
            tcp_user_timeout=_DEAD_SECONDS * 1_000,
            options="-c lock_timeout=5s -c statement_timeout=5s",
        )

    def _complain(self, said: str) -> None:
        if said != self._complaint:
            logger.warning("the line to the other Server Managers is cut: %s", said)
        self._complaint = said


def require_same_files(seen: Seen, me: str, files: str) -> None:
    """``Conflict`` when the one that leads keeps the stored files somewhere else."""
    if seen.holder not in (None, me) and seen.files != files:
        raise Conflict(
            "another Server Manager serves this database with its files in another place "
            f"({seen.files}, here it is {files}): the folder 'artifacts' of all of them must be one shared "
            "folder, or all use the same S3 bucket"
        )


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())
