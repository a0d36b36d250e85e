"""Passwords as argon2 hashes: each costs a tenth of a second and 64 MB, so two at a time, off the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fedops.core.errors import Unavailable

T = TypeVar("T")
AT_ONCE = 2
#: More than this wait for nobody. They would wait for more than a second.
_MOST_WAITING = 20


class Passwords:
    """Used in one event loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._pool = ThreadPoolExecutor(AT_ONCE, "passwords")
        self._busy = 0
        self._decoy: str | None = None
        self._lock = threading.Lock()

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        return await self._beside(self._hasher.hash, password)

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether it is the password. With nothing kept it takes as long, and is not."""
        return await self._beside(self._matches, kept, password)

    def close(self) -> None:
        self._pool.shutdown()

    def _matches(self, kept: str | None, password: str) -> bool:
        with self._lock:  # made for whoever comes first, known name or not
            self._decoy = self._decoy or self._hasher.hash("nobody's password")
        try:
            return self._hasher.verify(kept or self._decoy, password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False

    async def _beside(self, work: Callable[..., T], *given: str | None) -> T:
        if self._busy >= _MOST_WAITING:
            raise Unavailable("too many people sign in at the same time; try again in a moment")
        self._busy += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *given)
        finally:
            self._busy -= 1
