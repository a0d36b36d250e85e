"""The upload slots of a process that serves its database alone: every answer is there at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from fedops.server.protocol.slot_book import SLOT_SECONDS, SLOTS, Holders


class SlotsInMemory:
    """A ``SlotBook``. ``seconds``: how long a slot is held without a byte."""

    def __init__(self, slots: int = SLOTS, seconds: float = SLOT_SECONDS) -> None:
        self.slots = slots
        self.freed: Callable[[], None] = lambda: None  # nobody else releases one
        self._seconds = seconds
        #: Until when each holder has its slot.
        self._until: dict[str, float] = {}

    def take(self, holders: Sequence[str]) -> Holders:
        now = _now()
        self._until = {holder: until for holder, until in self._until.items() if until > now}
        for holder in holders:
            if holder in self._until or len(self._until) < self.slots:
                self._until[holder] = now + self._seconds
        return _answer(holder for holder in holders if holder in self._until)

    def renew(self, holders: Collection[str]) -> Holders:
        now = _now()
        held = [holder for holder in holders if self._until.get(holder, 0.0) > now]
        self._until.update(dict.fromkeys(held, now + self._seconds))
        return _answer(held)

    def used(self, holder: str) -> None:
        if holder in self._until:
            self._until[holder] = _now() + self._seconds

    def release(self, holder: str) -> None:
        self._until.pop(holder, None)

    def until_free(self) -> float:
        now = _now()
        return min(self._until.values(), default=now + self._seconds) - now


def _answer(holders: Iterable[str]) -> Holders:
    answer: Holders = asyncio.get_running_loop().create_future()
    answer.set_result(frozenset(holders))
    return answer


def _now() -> float:
    return asyncio.get_running_loop().time()
