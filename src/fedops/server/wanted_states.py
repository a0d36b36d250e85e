"""What the server wants of each device, in memory by revision; those who ask together are read together."""

from __future__ import annotations

import asyncio

from fedops.core.errors import NotFound
from fedops.server import devices
from fedops.server.db import Database
from fedops.server.devices import Wanted


class WantedStates:
    """Used in one event loop."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[int, Wanted]] = {}
        self._asked: dict[str, asyncio.Future[Wanted]] = {}

    async def get(self, device_id: str, revision: int) -> Wanted:
        """What is wanted of a device, as new as ``revision`` at least."""
        found = self._known.get(device_id)
        if found is not None and found[0] >= revision:
            return found[1]
        waiting = self._asked.get(device_id)
        if waiting is None:
            loop = asyncio.get_running_loop()
            if not self._asked:
                loop.call_soon(self._begin)
            waiting = self._asked[device_id] = loop.create_future()
        wanted = await asyncio.shield(waiting)
        self._known[device_id] = (revision, wanted)
        return wanted

    def _begin(self) -> None:
        asked, self._asked = self._asked, {}
        task = asyncio.get_running_loop().run_in_executor(None, self._read, list(asked))
        task.add_done_callback(lambda done: _answer(asked, done))

    def _read(self, device_ids: list[str]) -> dict[str, Wanted]:
        with self._db.read() as session:
            return devices.wanted(session, device_ids)


def _answer(
    asked: dict[str, asyncio.Future[Wanted]], done: asyncio.Future[dict[str, Wanted]]
) -> None:
    error = done.exception()
    for device_id, future in asked.items():
        if future.cancelled():
            continue
        if error is not None:
            future.set_exception(error)
        elif device_id in done.result():
            future.set_result(done.result()[device_id])
        else:
            future.set_exception(NotFound("this device is not known any more"))
