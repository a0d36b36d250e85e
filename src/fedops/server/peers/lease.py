"""The lease: a row in the database's time that says which Server Manager leads, and until when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from fedops.core.errors import Conflict

if TYPE_CHECKING:
    import psycopg

#: For so long a lease is good without being renewed. Seconds.
LEASE_SECONDS = 10.0
#: Who could not renew it stops leading so long before another one may begin. Seconds.
MARGIN_SECONDS = 2.0
#: How often the one that leads renews it, and how often the others look whether it is free. Seconds.
RENEW_SECONDS, LOOK_SECONDS = 2.5, 1.0

_NAME = "leader"
_NOW = "extract(epoch FROM clock_timestamp())::double precision"
_LOOK = f"""
SELECT {_NOW},
       (SELECT holder FROM leases WHERE name = %(name)s AND until > {_NOW}),
       (SELECT files FROM leases WHERE name = %(name)s AND until > {_NOW})
"""
_TAKE = f"""
INSERT INTO leases (name, holder, until, files)
VALUES (%(name)s, %(me)s, {_NOW} + %(seconds)s, %(files)s)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until, files = excluded.files
WHERE leases.holder = %(me)s OR leases.until <= {_NOW}
RETURNING holder
"""
_GIVE_UP = "UPDATE leases SET until = 0 WHERE name = %(name)s AND holder = %(me)s"
_CONFIRM = text(f"SELECT 1 FROM leases WHERE name = :name AND holder = :me AND until > {_NOW}")


@dataclass(frozen=True)
class Seen:
    """The lease as it is now: who leads, and where that one keeps the files."""

    now: float
    holder: str | None
    files: str | None


class Lease:
    """As one process sees it. ``me``: its life. ``candidate``: whether it is one that may lead."""

    shared = True

    def __init__(
        self,
        me: str,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        candidate: bool = True,
    ) -> None:
        self.me = me
        self.candidate = candidate
        #: Called when it begins or ceases to lead.
        self.changed: Callable[[], object] = lambda: None
        #: Where this one keeps the stored files.
        self.files = ""
        self._monotonic = monotonic
        self._led = False
        self._until = float("-inf")
        self._lock = threading.Lock()

    @property
    def _given(self) -> dict[str, Any]:
        given = {"name": _NAME, "me": self.me, "files": self.files}
        return {**given, "seconds": LEASE_SECONDS}

    @property
    def leads(self) -> bool:
        """By our own clock, and so somewhat before the database would give it to another one."""
        return self._monotonic() < self._until

    def confirm(self, session: Session) -> None:
        """By the database. ``Conflict`` when another one leads."""
        if session.execute(_CONFIRM, {"name": _NAME, "me": self.me}).first() is None:
            raise Conflict("another Server Manager leads now: this one leaves it to that one")

    def look(self, connection: psycopg.Connection[Any]) -> Seen:
        """Renew it, or take it when it is free. Who may not lead only looks."""
        asked_at = self._monotonic()
        now, holder, files = connection.execute(_LOOK, self._given).fetchone() or (0.0, None, None)
        if self.candidate and holder in (None, self.me):
            taken = connection.execute(_TAKE, self._given).fetchone()
            holder = self.me if taken else holder
        self._note(asked_at + LEASE_SECONDS - MARGIN_SECONDS if holder == self.me else None)
        return Seen(now, holder, files)

    def peek(self, connection: psycopg.Connection[Any]) -> Seen:
        """Whose it is, without taking it."""
        found = connection.execute(_LOOK, self._given).fetchone() or (0.0, None, None)
        return Seen(*found)

    def give_up(self, connection: psycopg.Connection[Any]) -> None:
        """Let another one take it at once."""
        self._note(None)
        connection.execute(_GIVE_UP, self._given)

    def check(self) -> None:
        """It may have run out."""
        self._note(self._until if self.leads else None)

    def _note(self, until: float | None) -> None:
        with self._lock:
            self._until = float("-inf") if until is None else until
            leads = self.leads
            changed, self._led = leads is not self._led, leads
        if changed:
            self.changed()
