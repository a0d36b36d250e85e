"""Who may read a blob and deliver one: the blob routes' view of tokens, assignments and rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from fedops.core.contracts import BlobRef, UploadHead
from fedops.core.errors import Invalid, NotFound
from fedops.server import artifacts, assignments
from fedops.server.blob_app.access import Caller
from fedops.server.db import Database
from fedops.server.notices import OpenWork
from fedops.server.presence import Presence
from fedops.server.rounds.instructions import Instructions
from fedops.server.rounds.work_hub import WorkHub
from fedops.server.tables import TokenKind
from fedops.server.token_cache import TokenCache
from fedops.server.tokens import Unauthorized
from fedops.server.writer import Writer
from fedops.settings import ServerSettings
from fedops.storage.blobs import Staged

_KINDS: dict[TokenKind, Literal["device", "attempt", "admin"]] = {
    TokenKind.DEVICE: "device",
    TokenKind.ATTEMPT: "attempt",
    TokenKind.ADMIN: "admin",
}
#: What a compressed file may have beyond the bound of its content, at worst. Bytes, and a share.
_FRAME_BYTES, _FRAME_SHARE = 4_096, 1 / 128


@dataclass(frozen=True)
class ServerBlobAccess:
    """``BlobAccess`` of a Server Manager."""

    db: Database
    writer: Writer
    tokens: TokenCache
    presence: Presence
    hub: WorkHub
    instructions: Instructions
    settings: ServerSettings
    clock: Callable[[], float]

    def authenticate(self, headers: Mapping[str, str]) -> Caller:
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise Unauthorized("this needs a token: send 'Authorization: Bearer TOKEN'")
        principal = self.tokens.known(secret) or self.tokens.look_up(secret)
        if principal.kind not in _KINDS:
            raise Unauthorized("a join token is for joining: files take the token of a device")
        if principal.device_id is not None:
            self.presence.heard(principal.device_id, self.clock())
        return Caller(_KINDS[principal.kind], principal.device_id, principal.attempt_id)

    async def may_read(self, caller: Caller, sha256: str) -> BlobRef:
        if caller.kind == "device":
            named = await self._named_for(caller.device_id or "", sha256)
            if named is None:
                raise NotFound(f"no open assignment of this device names the blob {sha256[:12]}")
            return named
        return await asyncio.to_thread(self._known, sha256)

    async def _named_for(self, device_id: str, sha256: str) -> BlobRef | None:
        """The blob, if the instruction of an open assignment of the device names it."""
        for work in self.hub.open_of_device(device_id):
            instructed = await self.instructions.get(work.instruction)
            if sha256 in instructed.blobs:
                return instructed.blobs[sha256]
        return None

    def _known(self, sha256: str) -> BlobRef:
        with self.db.read() as session:
            return artifacts.require(session, sha256, "blob")

    async def open_upload(self, caller: Caller, head: UploadHead, length: int) -> int:
        device_id = caller.device_id or ""
        work = self.hub.of_device(device_id, head.assignment)
        if work is None:
            raise await asyncio.to_thread(self._why_not, device_id, head.assignment)
        if head.encoding not in work.encodings:
            raise Invalid(
                f"the encoding '{head.encoding}' is not taken here; take one of: "
                + ", ".join(work.encodings)
            )
        self.hub.wants_to_send(device_id, head.assignment, length)
        return self._bound(work, head)

    def _bound(self, work: OpenWork, head: UploadHead) -> int:
        most = work.max_bytes or self.settings.max_update_bytes
        if head.encoding == "none":
            return most
        if head.decoded_size is None or head.decoded_sha256 is None:
            raise Invalid(
                f"an upload encoded as '{head.encoding}' says decoded_size and decoded_sha256"
            )
        if head.decoded_size > most:
            raise Invalid(
                f"the update has {head.decoded_size:,} bytes decoded, and at most {most:,} are taken"
            )
        return most + _FRAME_BYTES + int(most * _FRAME_SHARE)

    def _why_not(self, device_id: str, id_: str) -> Exception:
        with self.db.read() as session:
            try:
                row = assignments.require(session, device_id, id_)
            except NotFound as error:
                return error
            return assignments.over(row.status, row.reason)

    async def delivered(self, caller: Caller, head: UploadHead, file: Staged) -> None:
        device_id, now = caller.device_id or "", self.clock()
        result = assignments.Result(
            size=file.ref.size,
            blob=file.ref.sha256,
            encoding=head.encoding,
            decoded_sha256=head.decoded_sha256,
            decoded_size=head.decoded_size,
        )

        def keep(session: Session) -> None:
            artifacts.record(session, file.ref, now)
            assignments.deliver(session, device_id, head.assignment, result, now)

        await self.writer.submit(keep, [file])
