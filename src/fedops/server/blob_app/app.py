"""The blob routes as one ASGI app: below ``/api/v1/blobs`` of the Server Manager, or a process of its own.

GET, HEAD           /blobs/{sha256}         a blob, whole or a range
POST, OPTIONS       /blobs                  a new upload (tus)
HEAD, PATCH, DELETE /blobs/uploads/{id}     an upload
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from fedops.core.contracts import PROTOCOL_HEADER, RELEASE_HEADER
from fedops.core.errors import FedOpsError, NotFound
from fedops.server.blob_app.admission import Admission, Busy
from fedops.server.blob_app.block_cache import CACHE_BYTES, BlockCache
from fedops.server.blob_app.body import STALL_SECONDS
from fedops.server.blob_app.downloads import Downloads
from fedops.server.blob_app.http import Call, Disconnected, NotAllowed, Receive, Scope, Send
from fedops.server.blob_app.tus_handlers import Tus
from fedops.server.blob_app.unfinished_uploads import Uploads
from fedops.server.protocol.blob_port import BlobAccess
from fedops.server.protocol.error_replies import as_shortage
from fedops.server.protocol.protocol_version import require_protocol
from fedops.server.protocol.refusals import Gone
from fedops.storage.blobs import BlobStore

logger = logging.getLogger("fedops.server")
#: Where the app is in the API.
MOUNT = "/api/v1/blobs"
_PATH = re.compile(r"(?:.*?/blobs)?(?:/(?P<blob>[0-9a-f]{64})|/uploads/(?P<upload>[^/]{1,100})|/?)")
_OVERRIDE = "x-http-method-override"
_Handler = Callable[[Call], Awaitable[None]]


class BlobApp:
    """Files in and out. Its ``admission`` is what the route for slots hands out.

    ``accel_prefix``: where a proxy before us has the store's folder; it is told to send from there.
    ``threads``: that hash and write; None: one a core. A store far away (S3) takes more, as they wait for it.
    """

    def __init__(
        self,
        access: BlobAccess,
        store: BlobStore,
        admission: Admission | None = None,
        *,
        cache_bytes: int = CACHE_BYTES,
        stall_seconds: float = STALL_SECONDS,
        threads: int | None = None,
        accel_prefix: str | None = None,
    ) -> None:
        self.admission = admission or Admission()
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 2, "blobs")
        self._uploads = Uploads(store, self._pool)
        self._tus = Tus(access, self._uploads, self.admission, stall_seconds)
        self._cache = BlockCache(store, self._pool, cache_bytes)
        self._downloads = Downloads(access, store, self._cache, accel_prefix)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = self._loop or asyncio.get_running_loop()
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(Call(scope, receive, send))

    def forget(self, assignment: str, reason: str) -> None:
        """An assignment is over: end its upload and leave nothing of it. From any thread; does not wait."""
        if self._loop and self._loop.is_running():
            ending = self._uploads.forget(assignment, Gone(reason))
            ended = asyncio.run_coroutine_threadsafe(ending, self._loop)
            ended.add_done_callback(partial(_note_failure, assignment))
        else:
            self._uploads.discard(assignment)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})

    async def _serve(self, call: Call) -> None:
        try:
            await self._handler(call)(call)
        except Disconnected:
            return
        except Busy as error:
            await call.refuse(error, {"retry-after": str(math.ceil(error.retry_after))})
        except NotAllowed as error:
            await call.refuse(error, {"allow": error.allowed})
        except FedOpsError as error:
            await call.refuse(error)
        except Exception as error:
            lacking = as_shortage(error)
            await (call.refuse(lacking) if lacking else call.fail(error))

    def _handler(self, call: Call) -> _Handler:
        found = _PATH.fullmatch(call.path)
        if not found:
            raise NotFound(f"there is nothing at {call.path[:200]}; see /api/docs")
        blob, upload = found["blob"], found["upload"]
        handlers = self._of_blob(blob) if blob else self._of_upload(upload)
        method = call.headers.get(_OVERRIDE, "") if call.method == "POST" else ""
        handler = handlers.get(method.upper() or call.method)
        if handler is None:
            raise NotAllowed(call.path, call.method, ", ".join(handlers))
        if call.method != "OPTIONS":
            said = call.headers.get
            require_protocol(said(PROTOCOL_HEADER, ""), said(RELEASE_HEADER, ""))
        return handler

    def _of_blob(self, sha256: str) -> dict[str, _Handler]:
        async def serve(call: Call) -> None:
            await self._downloads.serve(call, sha256)

        return {"GET": serve, "HEAD": serve}

    def _of_upload(self, id_: str | None) -> dict[str, _Handler]:
        tus = self._tus
        if id_ is None:
            return {"POST": tus.create, "OPTIONS": tus.options}

        def of(handler: Callable[[Call, str], Awaitable[None]]) -> _Handler:
            return lambda call: handler(call, id_)

        known = {"HEAD": tus.head, "PATCH": tus.patch, "DELETE": tus.delete}
        return {
            **{method: of(handler) for method, handler in known.items()},
            "OPTIONS": tus.options,
        }


def _note_failure(assignment: str, ended: Future[None]) -> None:
    """Nobody waits for the end of a ``forget``."""
    error = None if ended.cancelled() else ended.exception()
    if error is not None:
        logger.error(
            "the unfinished upload of assignment %s could not be removed: %s; it is removed as an old one "
            "later, see that the disk can be written to",
            assignment,
            error,
            exc_info=error,
        )
