"""``GET`` and ``HEAD`` of a blob: whole or a range, from shared blocks in memory."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from fedops.core.contracts import BlobRef
from fedops.core.errors import FedOpsError
from fedops.server.blob_app.block_cache import BLOCK, BlockCache
from fedops.server.blob_app.http import BadRequest, Call
from fedops.server.protocol.blob_port import BlobAccess
from fedops.storage.blobs import BlobStore
from fedops.storage.folder_blobs import FolderBlobs

logger = logging.getLogger("fedops.server")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
#: How long a URL of the store gives a blob to whoever has it. Seconds.
LOCATION_SECONDS = 60.0


class RangeBeyond(BadRequest):
    """The blob has no such bytes."""

    http_status = 416


class Downloads:
    """Sends blobs to those who may read them."""

    def __init__(
        self,
        access: BlobAccess,
        store: BlobStore,
        cache: BlockCache,
        accel_prefix: str | None = None,
    ) -> None:
        self._access = access
        self._store = store
        self._cache = cache
        self._accel_prefix = accel_prefix if isinstance(store, FolderBlobs) else None

    async def serve(self, call: Call, sha256: str) -> None:
        """Answer with the blob, a part of it, or where it is."""
        caller = await self._access.authenticate(call.headers)
        blob = await self._access.may_read(caller, sha256)
        etag = f'"{sha256}"'
        if "no-cache" in call.headers.get("cache-control", ""):
            self._cache.forget(sha256)
        if _names(call.headers.get("if-none-match", ""), etag):
            await call.answer(304, {"etag": etag, "cache-control": "private"})
        elif url := self._store.location(sha256, LOCATION_SECONDS):
            await call.answer(307, {"location": url, "cache-control": "no-store"})
        elif self._accel_prefix is not None:
            await self._hand_over(call, sha256, etag)
        else:
            await self._send(call, blob, etag)

    async def _send(self, call: Call, blob: BlobRef, etag: str) -> None:
        headers = _headers(etag)
        part = _part(call.headers, blob.size, etag)
        if part is not None and not part:
            error = RangeBeyond(f"the blob has {blob.size:,} bytes, and none of those asked for")
            await call.refuse(error, {"content-range": f"bytes */{blob.size}"})
            return
        if part:
            headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{blob.size}"
        await self._send_bytes(call, blob, part or range(blob.size), headers, 206 if part else 200)

    async def _hand_over(self, call: Call, sha256: str, etag: str) -> None:
        """Let the proxy send the file, or the range that was asked for."""
        self._store.path(sha256)  # what is not there is said by us
        place = f"{self._accel_prefix}/{sha256[:2]}/{sha256[2:]}"
        await call.answer(200, {**_headers(etag), "x-accel-redirect": place})

    async def _send_bytes(
        self, call: Call, blob: BlobRef, part: range, headers: Mapping[str, str], status: int
    ) -> None:
        wanted = range(0) if call.method == "HEAD" else part
        # Read before the answer begins: what is missing or damaged is said.
        piece = await self._piece(blob, wanted) if wanted else b""
        await call.answer(status, headers, length=len(part))
        try:
            while wanted := wanted[len(piece) :]:
                await call.send(piece, more=True)
                piece = await self._piece(blob, wanted)
        except FedOpsError as error:  # the caller sees an answer that is cut short
            logger.warning("blob %s could not be sent to its end: %s", blob.sha256, error.message)
            return
        await call.send(piece, more=False)

    async def _piece(self, blob: BlobRef, wanted: range) -> bytes:
        """The first of the wanted bytes, as far as their block goes."""
        index, skipped = divmod(wanted.start, BLOCK)
        block = await self._cache.block(blob, index)
        stop = skipped + len(wanted)
        return block if not skipped and stop >= len(block) else block[skipped:stop]


def _headers(etag: str) -> dict[str, str]:
    return {
        "etag": etag,
        "accept-ranges": "bytes",
        "cache-control": "private",
        "content-type": "application/octet-stream",
    }


def _names(header: str, etag: str) -> bool:
    """Whether a list of tags has this one (compared weakly, as it is to be for this header)."""
    if not header:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return etag in tags or "*" in tags


def _part(headers: Mapping[str, str], size: int, etag: str) -> range | None:
    """The bytes that are asked for: None for all, an empty range when there are none of them."""
    found = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if not found or headers.get("if-range", etag) != etag:
        return None
    first, last = found.groups()
    if first:
        stop = min(int(last) + 1, size) if last else size
        return None if last and int(last) < int(first) else range(int(first), stop)
    return range(max(0, size - int(last)), size) if last else None
