"""Pieces of blobs in memory, shared by all who fetch them at the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor

from fedops.core.contracts import BlobRef
from fedops.storage.blobs import BlobStore

#: What is handed to a connection at a time.
BLOCK = 256 << 10
#: How many blocks a thread reads at a time.
RUN = 4
#: How much is kept.
CACHE_BYTES = 64 << 20

_Key = tuple[str, int]


class BlockCache:
    """The blocks of blobs that were read last. Each is read once, however many ask for it."""

    def __init__(self, store: BlobStore, pool: Executor, size: int = CACHE_BYTES) -> None:
        self._store = store
        self._pool = pool
        self._most = max(RUN, size // BLOCK)
        self._blocks: OrderedDict[_Key, bytes] = OrderedDict()
        self._reading: dict[_Key, asyncio.Future[list[bytes]]] = {}

    async def block(self, blob: BlobRef, index: int) -> bytes:
        """Block ``index`` of a blob. ``NotFound`` and ``Unavailable`` as the store says."""
        key = (blob.sha256, index)
        found = self._blocks.get(key)
        if found is not None:
            self._blocks.move_to_end(key)
            return found
        run = await self._run(blob, index // RUN)
        return run[index % RUN]

    def forget(self, sha256: str) -> None:
        """Read the blob from the store again: what is here of it may be damaged."""
        for key in [key for key in self._blocks if key[0] == sha256]:
            del self._blocks[key]

    async def _run(self, blob: BlobRef, number: int) -> list[bytes]:
        """Some blocks in a row; whoever comes meanwhile waits for the same read."""
        key = (blob.sha256, number)
        reading = self._reading.get(key)
        if reading is None:
            loop = asyncio.get_running_loop()
            reading = loop.run_in_executor(self._pool, self._read, blob, number)
            self._reading[key] = reading
            reading.add_done_callback(lambda done: self._keep(blob.sha256, number, done))
        return await asyncio.shield(reading)

    def _read(self, blob: BlobRef, number: int) -> list[bytes]:
        offset = number * RUN * BLOCK
        data = self._store.read(blob.sha256, offset, min(RUN * BLOCK, blob.size - offset))
        return [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]

    def _keep(self, sha256: str, number: int, done: asyncio.Future[list[bytes]]) -> None:
        self._reading.pop((sha256, number), None)
        if done.cancelled() or done.exception():
            return
        for index, block in enumerate(done.result(), number * RUN):
            self._blocks[sha256, index] = block
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)
