"""The other processes that serve a database, as one of them knows them: put together, started, ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from fedops.server.database.database import Database
from fedops.server.devices.wanted.desired_state import Wanted
from fedops.server.peers.batched_lookup import BatchedLookup
from fedops.server.peers.clock import DatabaseClock
from fedops.server.peers.lease import LOOK_SECONDS, Lease, Seen
from fedops.server.peers.memory_sync import MemorySync
from fedops.server.peers.notify_channel import NotifyChannel, require_same_files
from fedops.server.peers.shared_slots import SharedSlots
from fedops.server.rounds.work_hub import WorkHub
from fedops.waiting import wait_until

logger = logging.getLogger("fedops.server.peers")
#: How long a start waits for the first look at everything. Seconds.
_FIRST_SECONDS = 15.0


class ManagerGroup:
    """``Others``, and what keeps memory in step with them."""

    def __init__(
        self,
        db: Database,
        lease: Lease,
        clock: DatabaseClock,
        memory: MemorySync,
        hub: WorkHub,
        files: Callable[[], str],
        slots: SharedSlots,
    ) -> None:
        self.slots = slots
        self._lease = lease
        self._memory = memory
        self._hub = hub
        self._files = files
        self._channel = NotifyChannel(db.url, lease, clock, memory.heard, slots.heard)
        self._checks = BatchedLookup(memory.still_open)
        db.publish = self._channel.publish

    def greet(self) -> None:
        """Before anything is served. ``Conflict`` when others keep the files in another place.

        Who may not lead waits for one who does: only that one knows which place is the right one.
        """
        files = self._lease.files = self._files()
        seen = self._channel.greet()
        if seen.holder is None and not self._lease.candidate:
            logger.info("no Server Manager serves this database yet: waiting for one")
            seen = wait_until(self._leader, None, every=LOOK_SECONDS) or seen
        require_same_files(seen, self._lease.me, files)

    def _leader(self) -> Seen | None:
        seen = self._channel.greet()
        return seen if seen.holder else None

    def start(self) -> None:
        """From now on what others change is heard."""
        self._memory.worker.start()
        self._channel.start()
        if not self._memory.up_to_date.wait(_FIRST_SECONDS):
            logger.warning("the line to the other Server Managers is not open yet")

    def close(self, seconds: float) -> None:
        """Let another one lead."""
        self._channel.close(seconds)
        self._memory.worker.end()
        self._memory.worker.join(seconds)
        self.slots.close()

    # --- Others -------------------------------------------------------------------------------

    async def learn(self, device_id: str, ids: Sequence[str]) -> None:
        unknown = self._hub.unknown(device_id, ids)
        if unknown:
            await asyncio.to_thread(self._memory.learn, device_id, unknown)

    async def learn_all(self, device_id: str) -> None:
        await asyncio.to_thread(self._memory.learn, device_id, None)

    async def still_open(self, ids: Sequence[str]) -> Collection[str]:
        return await self._checks.ask(ids) if ids else ()

    def revision(self, ours: int, wanted: Wanted) -> int:
        return wanted.digest
