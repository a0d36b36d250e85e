"""Who may read which blob and who may upload a result: the rights and records of the blob routes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from fedops.core.contracts import BlobRef, UploadHead
from fedops.core.errors import Forbidden, Invalid, NotFound
from fedops.failpoints import reached
from fedops.server.access import rules
from fedops.server.access.principal import Principal
from fedops.server.access.token_cache import TokenCache
from fedops.server.assignments import assignments
from fedops.server.database import blob_rows
from fedops.server.database.database import Database
from fedops.server.database.writer import Writer
from fedops.server.devices.recent_calls import RecentCalls
from fedops.server.devices.wanted import serving
from fedops.server.devices.wanted.deployment_blobs import deployment_blob
from fedops.server.events.notifications import OpenWork
from fedops.server.protocol.blob_port import Caller
from fedops.server.rounds.engine_session import require_current_attempt
from fedops.server.rounds.instructions import Instructions
from fedops.server.rounds.other_managers import Nobody, Others
from fedops.server.rounds.work_hub import WorkHub
from fedops.storage.blobs import Staged

#: What an encoding may add to a file that it cannot make smaller: a part of it, and so many bytes.
_OVERHEAD, _OVERHEAD_BYTES = 256, 4_096
NONE = "none"


class WorkBlobAccess:
    """``BlobAccess`` of a Server Manager. ``max_bytes``: of a result, where its run says nothing of that."""

    def __init__(
        self,
        db: Database,
        writer: Writer,
        tokens: TokenCache,
        hub: WorkHub,
        instructions: Instructions,
        presence: RecentCalls,
        clock: Callable[[], float],
        max_bytes: int,
        others: Others | None = None,
    ) -> None:
        self._others = others or Nobody()
        self._db = db
        self._writer = writer
        self._tokens = tokens
        self._hub = hub
        self._instructions = instructions
        self._presence = presence
        self._clock = clock
        self._max_bytes = max_bytes

    # --- who calls -----------------------------------------------------------------------------

    async def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """By the bearer token."""
        caller = _caller(await self._tokens.principal_of(headers.get("authorization", "")))
        if caller.device_id is not None:
            self._presence.heard(caller.device_id, self._clock())
        return caller

    # --- reading -------------------------------------------------------------------------------

    async def may_read(self, caller: Caller, sha256: str) -> BlobRef:
        """A device: what its open work and its deployments name, and the models that it serves. An engine
        that lives and the operator: everything.
        """
        if caller.kind == "device":
            return await self._of_device(caller.device_id or "", sha256)
        return await asyncio.to_thread(self._known, caller, sha256)

    async def _of_device(self, device_id: str, sha256: str) -> BlobRef:
        found = await self._named(device_id, sha256)
        if found is None:
            found = await asyncio.to_thread(self._served, device_id, sha256)
        if found is None:
            await self._others.learn_all(device_id)
            found = await self._named(device_id, sha256)
        if found is None:
            found = await asyncio.to_thread(self._of_deployment, device_id, sha256)
        if found is None:
            raise NotFound(
                f"no open work of this device, and nothing that it is to run, names the blob {sha256}"
            )
        return found

    async def _named(self, device_id: str, sha256: str) -> BlobRef | None:
        for work in self._hub.open_of_device(device_id):
            instructed = await self._instructions.get(work.instruction)
            if sha256 in instructed.blobs:
                return instructed.blobs[sha256]
            if sha256 == work.model:
                return await asyncio.to_thread(self._known, None, sha256)
        return None

    def _of_deployment(self, device_id: str, sha256: str) -> BlobRef | None:
        with self._db.read() as session:
            return deployment_blob(session, device_id, sha256)

    def _served(self, device_id: str, sha256: str) -> BlobRef | None:
        with self._db.read() as session:
            if not serving.may_fetch(session, device_id, sha256):
                return None
            return blob_rows.require_blob(session, sha256, "model")

    def _known(self, caller: Caller | None, sha256: str) -> BlobRef:
        with self._db.read() as session:
            if caller is not None and caller.attempt_id is not None:
                require_current_attempt(session, caller.attempt_id, lock=False)
            return blob_rows.require_blob(session, sha256, "blob")

    # --- uploading -----------------------------------------------------------------------------

    async def open_upload(self, caller: Caller, head: UploadHead, length: int) -> int:
        """How many bytes the upload of a result may have: as many as its run takes."""
        device_id = _device(caller)
        await self._others.learn(device_id, [head.assignment])
        work = self._hub.open_assignment(device_id, head.assignment)
        if work is None:
            await asyncio.to_thread(self._raise_over, device_id, head.assignment)
            raise NotFound("this device has no such assignment")
        bound = self._bound(work, head)
        self._hub.wants_to_send(device_id, work.id, length)
        return bound

    def _bound(self, work: OpenWork, head: UploadHead) -> int:
        """``Invalid`` for an encoding that is not taken, or a content that is too large."""
        most = self._max_bytes if work.max_bytes is None else work.max_bytes
        if head.encoding not in work.encodings:
            taken = ", ".join(work.encodings)
            raise Invalid(f"the encoding '{head.encoding[:40]}' is not taken; it may be: {taken}")
        if head.encoding == NONE:
            return most
        if head.decoded_sha256 is None or head.decoded_size is None:
            raise Invalid("an encoded result says the sha256 and the size of what is in it")
        if head.decoded_size > most:
            raise Invalid(f"the result has {head.decoded_size:,} bytes, at most {most:,} are taken")
        return most + most // _OVERHEAD + _OVERHEAD_BYTES

    def _raise_over(self, device_id: str, id_: str) -> None:
        with self._db.read() as session:
            assignments.raise_gone(session, device_id, id_)

    def arrived(self, caller: Caller, head: UploadHead, size: int, length: int) -> None:
        """For whoever looks at the device: what it has sent may still be on the way."""
        self._hub.arrived(_device(caller), head.assignment, size, length)

    async def delivered(self, caller: Caller, head: UploadHead, file: Staged) -> None:
        """The file, its row and the state of the assignment, durable together."""
        device_id, now, ref = _device(caller), self._clock(), file.ref
        result = assignments.Result(
            size=ref.size,
            blob=ref.sha256,
            encoding=head.encoding,
            decoded_sha256=head.decoded_sha256,
            decoded_size=head.decoded_size,
            sending_at=self._hub.sending_since(device_id, head.assignment),
        )

        def write(session: Session) -> None:
            blob_rows.record_blob(session, ref, now)
            assignments.deliver_result(session, device_id, head.assignment, result, now)

        reached("server.delivery.before")
        await self._writer.submit(write, [file])
        reached("server.delivery.after")


def _caller(principal: Principal) -> Caller:
    rules.require_allowed(principal, rules.BLOB)
    match principal.kind.value:
        case "device":
            return Caller("device", device_id=principal.device_id)
        case "attempt":
            return Caller("attempt", attempt_id=principal.attempt_id)
    return Caller("admin")


def _device(caller: Caller) -> str:
    if caller.device_id is None:
        raise Forbidden("only a device uploads a result")
    return caller.device_id
