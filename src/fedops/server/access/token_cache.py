"""Whom tokens speak for, remembered for a short while, so that a call costs no look into the database."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection

from sqlalchemy import select

from fedops.core.states import ENROLMENT_OUT
from fedops.server.access.principal import Principal
from fedops.server.access.tokens import Unauthorized, authenticate
from fedops.server.database.database import Database
from fedops.server.database.tables import DeviceRow

#: How long an answer is good, unless it is cleared before; the tokens of devices do not expire. Seconds.
KEPT_SECONDS, DEVICE_KEPT_SECONDS = 30.0, 300.0
_MOST = 20_000


class TokenCache:
    """Thread-safe. Only what is valid is remembered."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._clock = clock
        self._monotonic = monotonic
        self._known: dict[str, tuple[Principal, float]] = {}
        self._asked: dict[str, asyncio.Future[Principal]] = {}
        self._generation = 0
        self._lock = threading.Lock()

    async def principal_of(self, header: str, needs: str = "a token") -> Principal:
        """Whom an ``Authorization`` header speaks for. The database is asked in a thread: nobody else waits.

        Raises:
            Unauthorized: there is no bearer token (``needs`` says which one), or it is worth nothing.
            Forbidden: it is of a device that was revoked.
        """
        kind, _, secret = header.partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise Unauthorized(f"this needs {needs}: send 'Authorization: Bearer TOKEN'")
        return await self.speaks_for(secret)

    async def speaks_for(self, secret: str) -> Principal:
        """Whom a token speaks for. Who asks while it is being looked up waits for the same answer."""
        if (known := self.known(secret)) is not None:
            return known
        asked = self._asked.get(secret)
        if asked is None:
            asked = asyncio.ensure_future(asyncio.to_thread(self.look_up, secret))
            self._asked[secret] = asked
            asked.add_done_callback(lambda done: self._forget(secret, done))
        return await asyncio.shield(asked)

    def _forget(self, secret: str, done: asyncio.Future[Principal]) -> None:
        if self._asked.get(secret) is done:
            del self._asked[secret]

    def known(self, secret: str) -> Principal | None:
        """Whom a token speaks for, if it was looked up not long ago."""
        found = self._known.get(secret)
        if found is None or self._monotonic() >= found[1]:
            return None
        principal, _ = found
        over = principal.expires_at is not None and self._clock() >= principal.expires_at
        return None if over else principal

    def look_up(self, secret: str) -> Principal:
        """Whom a token speaks for. ``Unauthorized`` or ``Forbidden`` says what is wrong with it."""
        generation = self._generation
        with self._db.read() as session:
            principal = authenticate(session, secret, self._clock())
        with self._lock:
            if generation == self._generation:  # else it may have been revoked meanwhile
                if len(self._known) >= _MOST:
                    self._known = {}
                kept = DEVICE_KEPT_SECONDS if principal.device_id else KEPT_SECONDS
                self._known[secret] = (principal, self._monotonic() + kept)
        return principal

    def shut_out(self, device_ids: Collection[str]) -> list[str]:
        """Which of these devices were taken out."""
        query = select(DeviceRow.id).where(DeviceRow.enrolment.in_(ENROLMENT_OUT))
        with self._db.read() as session:
            return [one for one in session.scalars(query) if one in device_ids]

    @property
    def generation(self) -> int:
        """Another one whenever tokens that were valid may not be so any more."""
        return self._generation

    def clear(self) -> None:
        """A token may not be valid any more."""
        with self._lock:
            self._generation += 1
            self._known, self._asked = {}, {}
