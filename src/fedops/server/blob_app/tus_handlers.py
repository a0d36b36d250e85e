"""Uploads by tus 1.0: core, creation (with upload), expiration, termination.

Who asks and how much may come is decided before the first byte of a body is read. The offset of an upload is
the size of its file. The answer to the last byte comes when the result is durable.
"""

from __future__ import annotations

import base64
import binascii
import time
from contextlib import suppress
from email.utils import formatdate

from pydantic import ValidationError

from fedops.core.contracts import UploadHead
from fedops.core.errors import Conflict, FedOpsError, Forbidden, NotFound, Unavailable
from fedops.core.validation_messages import validation_messages
from fedops.server.blob_app.admission import Admission
from fedops.server.blob_app.body import Body
from fedops.server.blob_app.http import BadRequest, Call, UnsupportedMedia
from fedops.server.blob_app.unfinished_uploads import Delivered, Entry, UploadRecord, Uploads
from fedops.server.protocol.blob_port import BlobAccess, Caller
from fedops.server.protocol.refusals import Gone, TooLarge
from fedops.storage.blobs import UNFINISHED_SECONDS, WrongDigest

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
_OFFERED = {
    "tus-resumable": VERSION,
    "tus-version": VERSION,
    "tus-extension": "creation,creation-with-upload,expiration,termination",
}
_MOST_METADATA = 2_048


class OtherTus(BadRequest):
    """Another version of tus than is spoken here."""

    http_status = 412


class Tus:
    """The handlers of the protocol."""

    def __init__(
        self, access: BlobAccess, uploads: Uploads, admission: Admission, stall_seconds: float
    ) -> None:
        self._access = access
        self._uploads = uploads
        self._admission = admission
        self._stall_seconds = stall_seconds

    async def options(self, call: Call) -> None:
        await call.answer(204, _OFFERED)

    async def create(self, call: Call) -> None:
        """``POST``: an upload, perhaps with its first bytes, or all of them. Begun before: where it is."""
        caller = await self._device(call)
        if "upload-defer-length" in call.headers:
            raise BadRequest("Upload-Defer-Length is not taken: say Upload-Length")
        length, head = call.natural("upload-length"), _head(call)
        if call.content_length != 0:
            _require_bytes(call)
            _require_room(call, length)
        bound = await self._access.open_upload(caller, head, length)
        if length > bound:
            raise TooLarge(f"the upload has {length:,} bytes, and at most {bound:,} are taken")
        record = UploadRecord(device_id=caller.device_id or "", head=head, length=length)
        entry, new = await self._uploads.open(record)
        location = {"location": f"{call.path.rstrip('/')}/uploads/{entry.id}"}
        async with self._uploads.held(entry):
            if not new:
                await self._look(entry)
            if call.content_length != 0 and entry.size == 0:
                await self._take(call, caller, entry)
            elif new:
                await self._uploads.in_thread(entry.begin)
            await self._finish_if_complete(caller, entry)
        await call.answer(201, {**_state(entry), **location})

    async def head(self, call: Call, id_: str) -> None:
        """``HEAD``: how far it is. Of a complete upload: that it is durable."""
        caller = await self._device(call)
        if finished := self._uploads.finished(id_, caller.device_id or ""):
            await call.answer(200, _numbers(finished.length, finished.length))
            return
        entry = await self._found(caller, id_)
        with suppress(Delivered):
            async with self._uploads.held(entry):
                await self._look(entry)
                await self._finish_if_complete(caller, entry)
        await call.answer(200, _state(entry))

    async def patch(self, call: Call, id_: str) -> None:
        """``PATCH``: further bytes."""
        caller = await self._device(call)
        _require_bytes(call)
        offset = call.natural("upload-offset")
        finished = self._uploads.finished(id_, caller.device_id or "")
        if finished and offset == finished.length:
            await call.answer(204, _numbers(offset, offset))
            return
        entry = await self._found(caller, id_)
        async with self._uploads.held(entry):
            await self._look(entry)
            if offset != entry.size:
                error = Conflict(f"the upload is at byte {entry.size:,}, not at {offset:,}")
                await call.refuse(error, _state(entry))
                return
            _require_room(call, entry.record.length - offset)
            await self._take(call, caller, entry)
            await self._finish_if_complete(caller, entry)
        await call.answer(204, _state(entry))

    async def delete(self, call: Call, id_: str) -> None:
        """``DELETE``: give the upload up."""
        caller = await self._device(call)
        entry = await self._uploads.find(id_, caller.device_id or "")
        await self._uploads.forget(entry.record.head.assignment, Gone("the upload was given up"))
        self._admission.release(entry.record.head.assignment)
        await call.answer(204, {"tus-resumable": VERSION})

    # --- steps --------------------------------------------------------------------------------

    async def _device(self, call: Call) -> Caller:
        if call.headers.get("tus-resumable") != VERSION:
            raise OtherTus(f"uploads go by tus {VERSION}: send the header Tus-Resumable: {VERSION}")
        caller = await self._access.authenticate(call.headers)
        if caller.kind != "device":
            raise Forbidden("results are uploaded with the token of a device")
        return caller

    async def _found(self, caller: Caller, id_: str) -> Entry:
        """The upload, if it may still go on."""
        entry = await self._uploads.find(id_, caller.device_id or "")
        try:
            await self._access.open_upload(caller, entry.record.head, entry.record.length)
        except (Gone, NotFound) as error:
            await self._uploads.forget(entry.record.head.assignment, error)
            self._admission.release(entry.record.head.assignment)
            raise
        return entry

    async def _look(self, entry: Entry) -> None:
        try:
            await self._uploads.in_thread(entry.look)
        except WrongDigest as error:
            await self._uploads.drop(entry, error)
            raise

    async def _take(self, call: Call, caller: Caller, entry: Entry) -> None:
        """Keep what comes, until the body ends or breaks off."""
        rest = entry.record.length - entry.size
        async with self._admission.transfer(entry.record.head.assignment) as came:
            body = entry.body = Body(call, rest, came=came, stall_seconds=self._stall_seconds)
            try:
                with body.watched():
                    self._tell(caller, entry)
                    while blocks := await body.piece():
                        await self._uploads.in_thread(entry.add, blocks)
                        self._tell(caller, entry)
            except WrongDigest as error:
                await self._uploads.drop(entry, error)
                raise
            finally:
                entry.body = None
                if not entry.complete:
                    await self._uploads.in_thread(entry.pause)

    def _tell(self, caller: Caller, entry: Entry) -> None:
        self._access.arrived(caller, entry.record.head, entry.size, entry.record.length)

    async def _finish_if_complete(self, caller: Caller, entry: Entry) -> None:
        if not entry.complete:
            return
        if entry.staged is None:
            await self._look(entry)
        assert entry.staged
        try:
            await self._access.delivered(caller, entry.record.head, entry.staged)
        except Unavailable:
            await self._uploads.in_thread(entry.pause)
            raise
        except FedOpsError as error:
            await self._uploads.drop(entry, error)
            raise
        else:
            self._uploads.finish(entry)
        finally:
            self._admission.release(entry.record.head.assignment)


def _head(call: Call) -> UploadHead:
    """What the upload says of itself. ``BadRequest`` when it does not."""
    text = call.headers.get("upload-metadata", "")
    if len(text) > _MOST_METADATA:
        raise BadRequest(f"Upload-Metadata may have {_MOST_METADATA:,} bytes")
    found = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise BadRequest(f"Upload-Metadata: the value of '{key[:40]}' is no base64") from None
    try:
        return UploadHead.model_validate(found)
    except ValidationError as error:
        raise BadRequest(
            "Upload-Metadata: " + "; ".join(validation_messages(error, UploadHead))
        ) from None


def _require_bytes(call: Call) -> None:
    found = call.headers.get("content-type", "none")
    if found != CONTENT_TYPE:
        raise UnsupportedMedia(f"the bytes of an upload are {CONTENT_TYPE}, not {found[:80]}")


def _require_room(call: Call, rest: int) -> None:
    """``TooLarge`` when the body is longer than what is missing, before it is read."""
    coming = call.content_length
    if coming is not None and coming > rest:
        raise TooLarge(f"the body has {coming:,} bytes, and {rest:,} are missing of the upload")


def _state(entry: Entry) -> dict[str, str]:
    expires = formatdate(time.time() + UNFINISHED_SECONDS, usegmt=True)
    return {**_numbers(entry.size, entry.record.length), "upload-expires": expires}


def _numbers(offset: int, length: int) -> dict[str, str]:
    return {
        "tus-resumable": VERSION,
        "upload-offset": str(offset),
        "upload-length": str(length),
        "cache-control": "no-store",
    }
