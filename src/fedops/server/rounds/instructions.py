"""Instructions as they are sent, with the blobs they name: read once, not for each device."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from dataclasses import dataclass

from fedops.core.contracts import BlobRef
from fedops.core.errors import NotFound
from fedops.server.database.database import Database
from fedops.server.database.tables import InstructionRow
from fedops.storage.payloads import blobs_of

#: So many are kept in memory. A round has few, and few rounds go on.
_KEPT = 64


@dataclass(frozen=True)
class Instructed:
    """A payload document as JSON, and the blobs that it names, by sha256."""

    content: bytes
    blobs: dict[str, BlobRef]


class Instructions:
    """Used in one event loop."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: OrderedDict[str, Instructed] = OrderedDict()

    async def get(self, id_: str) -> Instructed:
        """An instruction by its id. ``NotFound`` when it is not kept any more."""
        found = self._known.get(id_)
        if found is None:
            found = await asyncio.to_thread(self._read, id_)
            self._known[id_] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found

    def _read(self, id_: str) -> Instructed:
        with self._db.read() as session:
            row = session.get(InstructionRow, id_)
            if row is None:
                raise NotFound("the instruction is not kept any more")
            content = row.content
        blobs = blobs_of(json.loads(content)).values()
        return Instructed(content.encode(), {blob.sha256: blob for blob in blobs})
