"""Passwords are hashed beside the event loop, two at a time."""

from __future__ import annotations

import asyncio
import threading

import pytest
from argon2 import PasswordHasher

from fedops.core.errors import Unavailable
from fedops.server.access.passwords import AT_ONCE, Passwords

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Gate(PasswordHasher):
    """Hashes when it is let."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.open = threading.Event()
        self.inside = self.most = 0
        self._count = threading.Lock()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self._count:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.open.wait(30)
        with self._count:
            self.inside -= 1
        return super().hash(password, salt=salt)


def test_a_password_matches_its_hash_alone() -> None:
    async def ask() -> None:
        passwords = Passwords(QUICK)
        kept = await passwords.hash("a long sentence")
        assert "a long sentence" not in kept
        assert await passwords.matches(kept, "a long sentence")
        assert not await passwords.matches(kept, "another one")
        assert not await passwords.matches(None, "nobody's password")
        assert not await passwords.matches("damaged", "a long sentence")
        passwords.close()

    asyncio.run(ask())


def test_at_most_two_at_once_and_the_loop_goes_on() -> None:
    async def ask() -> None:
        gate = Gate()
        passwords = Passwords(gate)
        waiting = [asyncio.ensure_future(passwords.hash("x")) for _ in range(20)]
        while gate.inside < AT_ONCE:
            await asyncio.sleep(0.001)
        with pytest.raises(Unavailable, match="at the same time"):
            await passwords.hash("one too many")
        gate.open.set()
        assert len(set(await asyncio.gather(*waiting))) == 20
        assert gate.most == AT_ONCE
        assert await passwords.hash("again")
        passwords.close()

    asyncio.run(ask())
