"""What the blob routes ask of the rest of the server: who calls, what they may read, what they deliver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from fedops.core.contracts import BlobRef, UploadHead
from fedops.storage.blobs import Staged


@dataclass(frozen=True)
class Caller:
    """Whom a request speaks for."""

    kind: Literal["device", "attempt", "admin"]
    device_id: str | None = None
    attempt_id: int | None = None


class BlobAccess(Protocol):
    """Rights and records. Its methods are called in the event loop and answer from memory where they can."""

    async def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """By the request's headers (lower-case names). ``Forbidden`` (401 or 403) says what is wrong."""
        ...

    async def may_read(self, caller: Caller, sha256: str) -> BlobRef:
        """The blob. ``NotFound`` unless it is there and the caller has a reason to read it."""
        ...

    async def open_upload(self, caller: Caller, head: UploadHead, length: int) -> int:
        """How many bytes the upload may have. Asked at the beginning and before each further part.

        ``NotFound`` when it is no assignment of that device, ``Gone`` when it is over, ``Invalid`` for
        an encoding that is not taken.
        """
        ...

    def arrived(self, caller: Caller, head: UploadHead, size: int, length: int) -> None:
        """So many bytes of an upload are here now, of so many."""
        ...

    async def delivered(self, caller: Caller, head: UploadHead, file: Staged) -> None:
        """The upload is complete. Durable, with the row and the assignment's state, when it returns.

        ``file`` goes to ``Writer.submit`` with the change. Raises as ``open_upload`` does, and
        ``Unavailable``: then it is called again when the device asks again.
        """
        ...
