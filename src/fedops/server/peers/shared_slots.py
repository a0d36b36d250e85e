"""Upload slots that processes share: what one of them wants of the table is gathered and asked at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from fedops.core.errors import FedOpsError, Unavailable
from fedops.server.peers.slot_table import SlotTable, Wishes
from fedops.server.protocol.slot_book import Holders

logger = logging.getLogger("fedops.server.peers")

#: How often the slots of uploads that go on are renewed, all together. Seconds.
RENEW_SECONDS = 3.0
#: A process that died says nothing of its slots: so often it is looked whether one ran out. Seconds.
LOOK_SECONDS = 1.0


class SharedSlots:
    """A ``SlotBook``. The table is asked one question at a time; what is wanted meanwhile is the next."""

    def __init__(self, table: SlotTable, renew_seconds: float = RENEW_SECONDS) -> None:
        self.slots = table.slots
        self.freed: Callable[[], None] = lambda: None
        self._table = table
        self._renew_seconds = renew_seconds
        self._thread = ThreadPoolExecutor(1, "slots")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wishes = Wishes()
        self._askers: list[tuple[Holders, frozenset[str]]] = []
        self._asking = False
        self._used: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._complaint = ""

    # --- SlotBook -----------------------------------------------------------------------------

    def take(self, holders: Sequence[str]) -> Holders:
        self._wishes.wanted.update(dict.fromkeys(holders))
        return self._ask(holders)

    def renew(self, holders: Collection[str]) -> Holders:
        self._wishes.renewed.update(holders)
        return self._ask(holders)

    def used(self, holder: str) -> None:
        self._used.add(holder)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._renew_seconds, self._renew_used)

    def release(self, holder: str) -> None:
        self._used.discard(holder)
        self._wishes.released.add(holder)
        self._begin_soon()

    def until_free(self) -> float:
        return LOOK_SECONDS

    # --- what others do -----------------------------------------------------------------------

    def heard(self) -> None:
        """Another process released one. From any thread; does not wait."""
        if self._loop:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self.freed)

    def close(self) -> None:
        """Nothing more is asked. What is held runs out, or is renewed by who goes on with the upload."""
        self._thread.shutdown()

    # --- asking -------------------------------------------------------------------------------

    def _ask(self, holders: Iterable[str]) -> Holders:
        answer: Holders = asyncio.get_running_loop().create_future()
        self._askers.append((answer, frozenset(holders)))
        self._begin_soon()
        return answer

    def _renew_used(self) -> None:
        self._timer = None
        self._wishes.renewed |= self._used
        self._used = set()
        self._begin_soon()

    def _begin_soon(self) -> None:
        """After what this turn of the loop wants, too."""
        if not self._asking:
            self._asking = True
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        wishes, askers = self._wishes, self._askers
        self._wishes, self._askers = Wishes(), []
        assert self._loop
        try:
            asked = self._loop.run_in_executor(self._thread, self._table.exchange, wishes)
        except RuntimeError:
            asked = self._loop.create_future()
            asked.set_exception(Unavailable("the server is ending: ask for a slot in a moment"))
        asked.add_done_callback(lambda done: self._end(askers, done))

    def _end(
        self, askers: list[tuple[Holders, frozenset[str]]], done: asyncio.Future[frozenset[str]]
    ) -> None:
        error = done.exception()
        self._note(error)
        for answer, holders in askers:
            if answer.done():
                continue
            if error is None:
                answer.set_result(done.result() & holders)
            else:
                answer.set_exception(error)
                answer.exception()  # whoever asked may be gone
        self._asking = False
        if self._wishes:
            self._begin_soon()

    def _note(self, error: BaseException | None) -> None:
        """What was released and could not be written runs out by itself."""
        if error is not None and not isinstance(error, FedOpsError):
            logger.error("the upload slots could not be read", exc_info=error)
            return
        said = error.message if error else ""
        if said and said != self._complaint:
            logger.warning("upload slots: %s", said)
        self._complaint = said
