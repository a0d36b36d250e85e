"""The blob app on a port, with a rest of the server that is only memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from serving import serving

from fedops.core.contracts import BlobRef, UploadHead
from fedops.core.errors import FedOpsError, Forbidden, NotFound
from fedops.server.blob_app.admission import Admission
from fedops.server.blob_app.app import MOUNT, BlobApp
from fedops.server.protocol.blob_port import Caller
from fedops.server.protocol.refusals import Gone
from fedops.storage.blobs import BlobStore, Staged, keep
from fedops.storage.folder_blobs import FolderBlobs

PROTOCOL = {"fedops-protocol": "1"}
TUS = {"tus-resumable": "1.0.0", "content-type": "application/offset+octet-stream"}
JOB, OTHER_JOB = "a" * 32, "b" * 32


@dataclass
class FakeAccess:
    """A ``BlobAccess``: tokens are names of devices, and what may be uploaded is a dict."""

    store: BlobStore
    #: The device of each assignment.
    assignments: dict[str, str] = field(default_factory=lambda: {JOB: "d1", OTHER_JOB: "d2"})
    readable: dict[str, int] = field(default_factory=dict)
    bound: int = 1 << 30
    #: Assignments that are over, and why.
    over: dict[str, str] = field(default_factory=dict)
    delivered_heads: list[UploadHead] = field(default_factory=list)
    #: How much of an upload was said to be here, each time.
    seen: list[int] = field(default_factory=list)
    #: What ``delivered`` raises, once each.
    troubles: list[FedOpsError] = field(default_factory=list)
    commit_seconds: float = 0.0

    async def authenticate(self, headers: Mapping[str, str]) -> Caller:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token == "admin":
            return Caller("admin")
        if token not in self.assignments.values():
            raise _Unauthorized("this token is not known here")
        return Caller("device", token)

    async def may_read(self, caller: Caller, sha256: str) -> BlobRef:
        if sha256 not in self.readable:
            raise NotFound(f"there is no blob {sha256} for this caller")
        return BlobRef(sha256=sha256, size=self.readable[sha256])

    async def open_upload(self, caller: Caller, head: UploadHead, length: int) -> int:
        if self.assignments.get(head.assignment) != caller.device_id:
            raise NotFound(f"there is no assignment {head.assignment} of this device")
        if head.assignment in self.over:
            raise Gone(self.over[head.assignment])
        return self.bound

    def arrived(self, caller: Caller, head: UploadHead, size: int, length: int) -> None:
        assert 0 <= size <= length
        self.seen.append(size)

    async def delivered(self, caller: Caller, head: UploadHead, file: Staged) -> None:
        await self.open_upload(caller, head, file.ref.size)
        await asyncio.sleep(self.commit_seconds)
        if self.troubles:
            raise self.troubles.pop(0)
        await asyncio.to_thread(keep, file)
        self.delivered_heads.append(head)
        self.over[head.assignment] = "it was delivered"


class _Unauthorized(Forbidden):
    http_status = 401


@dataclass
class BlobWorld:
    """A running blob app and what is behind it."""

    port: int
    store: BlobStore
    access: FakeAccess
    app: BlobApp
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{MOUNT}"

    def client(self, token: str = "d1", **headers: str) -> httpx.Client:
        sent = {"authorization": f"Bearer {token}", **PROTOCOL, "tus-resumable": "1.0.0", **headers}
        return httpx.Client(base_url=self.url, headers=sent, trust_env=False, timeout=20.0)

    def put(self, data: bytes) -> str:
        """Store a blob that everybody may read."""
        upload = self.store.begin()
        upload.write(data)
        ref = upload.finish()
        self.access.readable[ref.sha256] = ref.size
        return ref.sha256

    def incoming(self) -> dict[str, int]:
        """The sizes of the unfinished files, without their notes."""
        folder = self.folder / "incoming"
        return {f.name: f.stat().st_size for f in folder.glob("*") if not f.name.endswith(".note")}


@contextmanager
def blob_world(
    folder: Path,
    *,
    access: FakeAccess | None = None,
    store: BlobStore | None = None,
    admission: Admission | None = None,
    **options: Any,
) -> Iterator[BlobWorld]:
    """A blob app on a free port. ``access`` of an earlier one is what outlives a restart."""
    store = store or FolderBlobs(folder)
    access = access or FakeAccess(store)
    app = BlobApp(access, store, admission, **options)
    with serving(app) as port:
        yield BlobWorld(port, store, access, app, folder)


def metadata(data: bytes, assignment: str = JOB, **more: str) -> str:
    """The ``Upload-Metadata`` of a result."""
    fields = {"assignment": assignment, "sha256": hashlib.sha256(data).hexdigest(), **more}
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in fields.items())


def creation(data: bytes, assignment: str = JOB, **more: str) -> dict[str, str]:
    """The headers of a ``POST`` that announces a result."""
    return {
        **TUS,
        "upload-length": str(len(data)),
        "upload-metadata": metadata(data, assignment, **more),
    }


def location(world: BlobWorld, answer: httpx.Response) -> str:
    """The URL of the upload that was made."""
    return f"http://127.0.0.1:{world.port}{answer.headers['location']}"
