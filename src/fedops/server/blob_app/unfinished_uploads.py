"""The uploads that are not finished: what is known of each, and who of several requests has it.

All that must outlive the server lies beside the bytes: the note of the store's unfinished file. An upload is
named after its assignment and its content, so that whoever asks again finds it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedops.core.contracts import UploadHead
from fedops.core.errors import FedOpsError, NotFound
from fedops.server.blob_app.body import Body
from fedops.server.blob_app.http import Locked
from fedops.server.protocol.refusals import Gone
from fedops.storage.blobs import BlobStore, Staged, Upload

logger = logging.getLogger("fedops.server")
_ID = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}")
#: How long a request waits until the one before it has let go of the upload. Seconds.
TAKE_OVER_SECONDS = 3.0
#: An upload of at most so many bytes is forgotten when the server is killed before it broke off or ended: it
#: mostly comes in one call, and what is kept beside its bytes costs more than to send it again.
SMALL = 8 << 20
#: So many uploads are remembered: finished ones for those who did not hear the answer.
_REMEMBERED = 10_000


def upload_id(head: UploadHead) -> str:
    """What the upload of that content for that assignment is called."""
    return f"{head.assignment}-{head.sha256[:16]}"


class Delivered(Gone):
    """It is over because all is well."""


class UploadRecord(BaseModel):
    """What is known of an upload, and kept beside its bytes."""

    model_config = ConfigDict(frozen=True)

    device_id: str
    head: UploadHead
    length: int


class Entry:
    """An upload that is not finished. Its blocking methods run in a thread."""

    def __init__(
        self, store: BlobStore, id_: str, record: UploadRecord, upload: Upload | None = None
    ) -> None:
        self.id = id_
        self.record = record
        self.lock = asyncio.Lock()
        #: The body that is being taken in.
        self.body: Body | None = None
        #: Why nothing more is taken in: it is finished, or given up.
        self.over: FedOpsError | None = None
        self.staged: Staged | None = None
        self._store = store
        self._upload = upload

    @property
    def size(self) -> int:
        """How many bytes are there, as far as known."""
        return self._upload.size if self._upload else 0

    @property
    def complete(self) -> bool:
        return self.size == self.record.length

    def begin(self) -> None:
        """Begin from nothing."""
        self._begin().pause()

    def look(self) -> None:
        """Find out how many bytes are on the disk, and whether they are all."""
        upload = self._upload or self._begin()
        upload.reopen()
        if upload.size > self.record.length:
            upload = self._begin()  # some of it is of somebody else: from nothing
        if self.staged and self.staged.ref.sha256 != self.record.head.sha256:
            self.staged = None  # another process wrote meanwhile: what is there was read anew
        self._stage_if_complete()

    def add(self, blocks: list[bytes]) -> None:
        """Keep more bytes. ``WrongDigest`` when they were the last, and it is another content."""
        upload = self._upload or self._begin()
        if self.record.length > SMALL:
            upload.secure()
        upload.write(*blocks)
        self._stage_if_complete()

    def pause(self) -> None:
        """Let go of the file."""
        if self._upload:
            self._upload.pause()

    def drop(self) -> None:
        """Leave nothing of it."""
        self.staged = None
        if self._upload:
            self._upload.abort()
        self._store.discard(self.id)

    def _begin(self) -> Upload:
        note = self.record.model_dump_json().encode()
        self._upload = self._store.begin(self.id, note)
        return self._upload

    def _stage_if_complete(self) -> None:
        if self.complete and not self.staged and self._upload:
            self.staged = self._upload.stage(self.record.head.sha256)


@dataclass(frozen=True)
class Finished:
    """An upload that was delivered."""

    device_id: str
    length: int


class Uploads:
    """All uploads of one server, from memory and from the disk."""

    def __init__(self, store: BlobStore, pool: Executor) -> None:
        self._store = store
        self._pool = pool
        self._entries: dict[str, Entry] = {}
        self._finished: OrderedDict[str, Finished] = OrderedDict()

    async def in_thread(self, work: Any, *args: Any) -> Any:
        """Run what blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args))

    def finished(self, id_: str, device_id: str) -> Finished | None:
        """The upload, when it was delivered not long ago."""
        found = self._finished.get(id_)
        return found if found and found.device_id == device_id else None

    async def find(self, id_: str, device_id: str) -> Entry:
        """An unfinished upload of that device. ``NotFound`` when there is none."""
        entry = await self._entry(id_)
        if entry is None or entry.record.device_id != device_id:
            raise NotFound(f"there is no unfinished upload '{id_[:60]}' of this device")
        return entry

    async def open(self, record: UploadRecord) -> tuple[Entry, bool]:
        """The upload of that content for that assignment, and whether it is new.

        Another content for the same assignment ends the upload before it.
        """
        id_ = upload_id(record.head)
        found = await self._entry(id_)
        if found and found.record == record and not found.over:
            return found, False
        await self.forget(record.head.assignment, Gone("another result was announced instead"))
        entry = Entry(self._store, id_, record)
        return (entry, True) if self._enter(entry) is entry else (self._entries[id_], False)

    @asynccontextmanager
    async def held(self, entry: Entry) -> AsyncIterator[None]:
        """While one request has the upload; another one that has it is stopped.

        ``Locked`` when that one does not let go soon. Raises why, when the upload is over by then.
        """
        if entry.body:
            entry.body.stop(Locked("another request goes on with this upload"))
        try:
            async with asyncio.timeout(TAKE_OVER_SECONDS):
                await entry.lock.acquire()
        except TimeoutError:
            raise Locked("another request is ending this upload: ask again in a moment") from None
        try:
            if entry.over:
                raise entry.over
            yield
        finally:
            entry.lock.release()

    def finish(self, entry: Entry) -> None:
        """It was delivered."""
        entry.over = Delivered("this upload was delivered")
        self._leave(entry)
        self._finished[entry.id] = Finished(entry.record.device_id, entry.record.length)
        if len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)

    async def drop(self, entry: Entry, why: FedOpsError) -> None:
        """Leave nothing of it. By the request that holds it."""
        entry.over = why
        self._leave(entry)
        await self.in_thread(entry.drop)

    async def forget(self, assignment: str, why: FedOpsError) -> None:
        """Give up whatever is unfinished for an assignment. Who is sending it hears why."""
        for entry in [e for e in self._entries.values() if e.record.head.assignment == assignment]:
            entry.over = entry.over or why
            if entry.body:
                entry.body.stop(why)
            async with entry.lock:
                if entry.id not in self._finished:
                    await self.drop(entry, why)
        await self.in_thread(self.discard, assignment)

    def discard(self, assignment: str) -> None:
        """Remove what is on the disk for an assignment that no request is about."""
        for name in self._store.unfinished():
            if name.startswith(f"{assignment}-") and name not in self._entries:
                self._store.discard(name)

    # --- memory and disk ----------------------------------------------------------------------

    def _enter(self, entry: Entry) -> Entry:
        """Remember it, unless another one was there first. The oldest that nobody has can be read again."""
        if len(self._entries) >= _REMEMBERED:
            idle = next((e for e in self._entries.values() if not e.lock.locked()), None)
            if idle:
                self._leave(idle)
        return self._entries.setdefault(entry.id, entry)

    def _leave(self, entry: Entry) -> None:
        if self._entries.get(entry.id) is entry:
            del self._entries[entry.id]

    async def _entry(self, id_: str) -> Entry | None:
        if id_ in self._entries or not _ID.fullmatch(id_):
            return self._entries.get(id_)
        found: Entry | None = await self.in_thread(self._from_disk, id_)
        return self._enter(found) if found else self._entries.get(id_)

    def _from_disk(self, id_: str) -> Entry | None:
        """What an earlier life of the server took in of it. It is read once to be hashed."""
        try:
            upload = self._store.resume(id_)
            record = UploadRecord.model_validate_json(upload.note)
        except NotFound:
            return None
        except ValidationError:
            logger.warning("what is kept of the upload %s cannot be read: it begins anew", id_)
            self._store.discard(id_)
            return None
        upload.pause()
        return Entry(self._store, id_, record, upload)
