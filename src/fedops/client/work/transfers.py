"""Files between device and server: down from the last byte that is here, up from the last that is there."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import zstandard

from fedops.api_client import (
    BlobClient,
    DigestMismatch,
    OffsetMismatch,
    TryLater,
    Upload,
    WorkClient,
    blocks_of,
)
from fedops.client.work.downloads import download_rest
from fedops.client.work.held_assignments import Held
from fedops.client.work.model_cache import Damaged, ModelCache
from fedops.client.work.reachability import Over, Reachability, backoff
from fedops.core.contracts import BlobRef, Encoding, SlotRequest, Stage, UploadHead
from fedops.core.errors import FedOpsError, Invalid, NotFound, Unavailable
from fedops.failpoints import reached
from fedops.storage.atomic_files import atomic_file, sha256_of
from fedops.storage.shortages import why_not_written

T = TypeVar("T")
logger = logging.getLogger("fedops.client")

#: How often a file may arrive damaged, or be found so by the server, before we give up.
DAMAGED_TIMES = 3
_SLOT_SECONDS = 10.0
_ZSTD_LEVEL = 1
_LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class Transfers:
    """Brings models here and results there. Each call belongs to one assignment and ends with it."""

    work: WorkClient
    blobs: BlobClient
    models: ModelCache
    reach: Reachability
    stopped: Callable[[], bool]
    #: One at a time: two assignments may need the same file.
    _fetching: threading.Lock = field(default_factory=threading.Lock)

    # --- down --------------------------------------------------------------------------------------

    def fetch(self, held: Held, blob: BlobRef) -> Path:
        """The file of a blob that the assignment's instruction names: the one that is here, or fetched.

        Raises:
            Over: the assignment is over, or this process.
            Invalid: it arrived damaged again and again.
        """
        while not self._fetching.acquire(timeout=_LOOK_SECONDS):
            self.check(held)
        try:
            return self._fetch(held, blob)
        finally:
            self._fetching.release()

    def _fetch(self, held: Held, blob: BlobRef) -> Path:
        found = self.models.find(held.task, blob) or self._fetched(held, blob)
        return self._own(held, found)

    def _fetched(self, held: Held, blob: BlobRef) -> Path:
        digests: set[str] = set()
        for _ in range(DAMAGED_TIMES):
            download = partial(self._download, held, blob, fresh=bool(digests))
            self.insist(held, download, Stage.DOWNLOADING)
            try:
                return self.models.admit(held.task, blob)
            except Damaged as damaged:
                digests.add(damaged.digest)
            logger.warning("the model %s arrived damaged: it is fetched again", blob.sha256[:12])
        text = f"the model {blob.sha256[:12]} arrived damaged {DAMAGED_TIMES} times"
        if len(digests) == 1:
            text += (
                ", each time the same: it is damaged on the server ('fedops model verify' there)"
            )
        raise Invalid(text)

    def _own(self, held: Held, found: Path) -> Path:
        """The file under a name of the assignment, which stays when the cache lets go of it."""
        path = held.folder / found.name
        try:
            path.unlink(missing_ok=True)
            path.hardlink_to(found)
        except OSError:  # not every file system has links
            try:
                shutil.copyfile(found, path)
            except OSError as error:
                raise Unavailable(why_not_written(error, path)) from None
        return path

    def _download(self, held: Held, blob: BlobRef, fresh: bool) -> None:
        """Get what is missing of it, once."""

        def on_the_way(done: int) -> None:
            self.check(held)
            held.tell(Stage.DOWNLOADING, done, blob.size)

        download_rest(self.blobs, self.models.part(held.task, blob), blob, on_the_way, fresh=fresh)

    # --- up ----------------------------------------------------------------------------------------

    def upload(self, held: Held) -> None:
        """Deliver the result as a file. Returns once the server has it for good.

        Raises:
            Over: the assignment is over, or this process.
            DigestMismatch: the result is damaged on this disk.
            Invalid: the server takes no such file, or it arrived damaged again and again.
        """
        for _ in range(DAMAGED_TIMES):
            file, head = self._to_send(held)
            size = file.stat().st_size
            self.insist(held, partial(self.ask_for_slot, held, size), Stage.WAITING_TO_UPLOAD)
            try:
                self._send(held, file, head, size)
                return
            except DigestMismatch:
                assert held.finished is not None
                if sha256_of(held.result) != held.finished.sha256:
                    raise
                logger.warning("the result arrived damaged: it is sent again")
                held.encoded.unlink(missing_ok=True)
        raise Invalid(f"the result arrived damaged {DAMAGED_TIMES} times")

    def _to_send(self, held: Held) -> tuple[Path, UploadHead]:
        """The file as it travels, in the encoding that the server likes best of those we know.

        Where the disk has no room for that, the result goes as it is; if the server takes only encoded
        ones, it waits for room.
        """
        assert held.instruction is not None
        known = [name for name in held.instruction.encodings if name in list(Encoding)]
        if not known or known[0] == Encoding.NONE:
            return _plain(held)
        for pause in backoff():
            try:
                return self._encoded(held)
            except OSError as error:
                problem = f"the result cannot be encoded: {why_not_written(error, held.folder)}"
            if Encoding.NONE in known:
                logger.warning("%s; it is sent as it is", problem)
                return _plain(held)
            held.tell(Stage.WAITING_TO_UPLOAD, text=problem)
            self.reach.pause(pause, partial(self._is_over, held))
            self.check(held)
        raise AssertionError("the pauses never end")

    def _encoded(self, held: Held) -> tuple[Path, UploadHead]:
        assert held.finished is not None
        path = held.encoded
        if not path.exists():
            with held.result.open("rb") as source, atomic_file(path, durable=False) as target:
                zstandard.ZstdCompressor(level=_ZSTD_LEVEL).copy_stream(source, target)
        return path, UploadHead(
            assignment=held.id,
            sha256=sha256_of(path),
            encoding=Encoding.ZSTD,
            decoded_sha256=held.finished.sha256,
            decoded_size=held.finished.size,
        )

    def ask_for_slot(self, held: Held, size: int) -> None:
        """Wait in line for leave to upload. ``TryLater``: it is not our turn yet."""
        slot = self.work.slot(held.id, SlotRequest(size=size, wait=_SLOT_SECONDS))
        if not slot.granted:
            raise TryLater("others are uploading", slot.retry_after)

    def _send(self, held: Held, file: Path, head: UploadHead, size: int) -> None:
        reached("manager.upload.begin")
        self.insist(held, _Sending(self, held, file, head, size), Stage.WAITING_TO_UPLOAD)
        reached("manager.upload.done")

    def blocks(self, held: Held, file: Path, start: int, size: int) -> Iterator[bytes]:
        """The bytes of a file that is uploaded, from ``start`` on."""
        held.tell(Stage.UPLOADING, start, size)
        for block in blocks_of(file, start):
            self.check(held)
            yield block
            start += len(block)
            held.tell(Stage.UPLOADING, start, size)

    # --- both --------------------------------------------------------------------------------------

    def insist(self, held: Held, call: Callable[[], T], stage: Stage) -> T:
        """Call until it is answered; until then the device says that it is at ``stage``, and why."""

        def waiting(error: FedOpsError) -> None:
            held.tell(stage, held.done, held.total, error.message)

        return self.reach.insist(call, partial(self._is_over, held), waiting)

    def check(self, held: Held) -> None:
        """``Over`` when the assignment is over, or this process."""
        if self._is_over(held):
            raise Over

    def _is_over(self, held: Held) -> bool:
        return held.over.is_set() or self.stopped()


def _plain(held: Held) -> tuple[Path, UploadHead]:
    assert held.finished is not None
    return held.result, UploadHead(assignment=held.id, sha256=held.finished.sha256)


class _Sending:
    """One upload: in one call as long as nothing cuts it, else from the last byte that arrived."""

    def __init__(
        self, transfers: Transfers, held: Held, file: Path, head: UploadHead, size: int
    ) -> None:
        self._transfers = transfers
        self._held = held
        self._file = file
        self._head = head
        self._size = size
        self._begun = False
        self._turned_away = False
        self._upload: Upload | None = None

    def __call__(self) -> None:
        """One try."""
        if self._turned_away:  # our turn has passed
            self._transfers.ask_for_slot(self._held, self._size)
            self._turned_away = False
        try:
            upload = self._find() if self._upload else self._create()
            while upload.offset < self._size:
                upload = self._append(upload)
        except TryLater:
            self._turned_away = True
            raise

    def _create(self) -> Upload:
        """Announce it. Only the first time with its bytes: later there may be some of them already."""
        content = None if self._begun else self._blocks(0)
        self._begun = True
        self._upload = self._transfers.blobs.create_upload(self._head, self._size, content)
        return self._upload

    def _find(self) -> Upload:
        assert self._upload is not None
        try:
            return Upload(self._upload.id, self._transfers.blobs.upload_offset(self._upload.id))
        except NotFound:
            self._upload = None
            raise TryLater("the server does not know the upload any more", 0.2) from None

    def _append(self, upload: Upload) -> Upload:
        left = self._size - upload.offset
        content = self._blocks(upload.offset)
        try:
            arrived = self._transfers.blobs.append(upload.id, upload.offset, content, left)
        except OffsetMismatch as error:
            raise TryLater(error.message, 0.2) from None
        return Upload(upload.id, arrived)

    def _blocks(self, start: int) -> Iterator[bytes]:
        return self._transfers.blocks(self._held, self._file, start, self._size)
