"""Files in and out, in blocks: never held in memory, whatever their size."""

from __future__ import annotations

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from fedops.core.contracts import BlobRef
from fedops.server.api.http.request_body import refuse_announced, refuse_size
from fedops.storage.blobs import BlobStore, Upload

_BLOCK = 1 << 20


async def receive(request: Request, store: BlobStore, limit: int) -> BlobRef:
    """Take in the request's body as an artifact, or leave nothing of it."""
    refuse_announced(request, limit)
    upload = await run_in_threadpool(store.begin)
    try:
        await _copy(request, upload, limit)
        return await run_in_threadpool(upload.finish)
    finally:
        upload.abort()


async def _copy(request: Request, upload: Upload, limit: int) -> None:
    pending = bytearray()
    async for block in request.stream():
        pending += block
        refuse_size(upload.size + len(pending), limit)
        if len(pending) >= _BLOCK:
            await run_in_threadpool(upload.write, bytes(pending))
            pending.clear()
    await run_in_threadpool(upload.write, bytes(pending))


def send(store: BlobStore, sha256: str, name: str | None = None) -> FileResponse:
    """An artifact as an answer."""
    return FileResponse(
        store.path(sha256),
        media_type="application/octet-stream",
        filename=name,
        headers={"x-fedops-sha256": sha256},
    )
