"""One HTTP request of the blob app: its headers, its answers, and the errors that only HTTP knows."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from fedops.core.contracts import ErrorReply
from fedops.core.errors import Conflict, FedOpsError, Invalid
from fedops.server.protocol.error_replies import HEADERS, INTERNAL, log_trouble

logger = logging.getLogger("fedops.server")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: After an answer, so many bytes of a body that nobody reads may come; before more the connection is closed.
_LEFT_OVER = 64 << 10


class BadRequest(Invalid):
    """A header or a path is wrong."""

    http_status = 400


class NotAllowed(Invalid):
    """The path does not take this method."""

    http_status = 405

    def __init__(self, path: str, method: str, allowed: str) -> None:
        super().__init__(f"{path[:200]} takes {allowed}, not {method}")
        self.allowed = allowed


class UnsupportedMedia(Invalid):
    """The body is not of the type that is taken."""

    http_status = 415


class Locked(Conflict):
    """Another request has the upload."""

    http_status = 423


class Disconnected(Exception):
    """Whoever asked went away. Nobody hears an answer."""


class Call:
    """A request, and the way to answer it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: Mapping[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.receive = receive
        self._send = send
        self.answered = False
        #: Whether the body was read to its end.
        self.body_read = False

    @property
    def content_length(self) -> int | None:
        """How long the body is; None when it comes in chunks and its length is not known."""
        if "transfer-encoding" in self.headers:
            return None
        return int(self.headers.get("content-length") or 0)

    def natural(self, header: str) -> int:
        """A header that is a whole number. ``BadRequest`` when it is none or missing."""
        text = self.headers.get(header, "")
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise BadRequest(f"the header {header} must be a whole number, not '{text[:40]}'")
        return int(text)

    async def answer(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        body: bytes = b"",
        length: int | None = None,
    ) -> None:
        """The whole answer, or its beginning when ``length`` says that more follows."""
        wire = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]
        if status not in (204, 304):
            wire.append((b"content-length", str(len(body) if length is None else length).encode()))
        if self._leaves_much():
            wire.append((b"connection", b"close"))
        self.answered = True
        await self._send({"type": "http.response.start", "status": status, "headers": wire})
        if length is None:
            await self.send(body, more=False)

    async def send(self, body: bytes, more: bool) -> None:
        """A piece of the answer's body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def refuse(self, error: FedOpsError, headers: Mapping[str, str] | None = None) -> None:
        """An error as the answer."""
        log_trouble(error)
        carried = {**HEADERS.get(error.http_status, {}), **(headers or {})}
        await self._error(error.http_status, ErrorReply.of(error), carried)

    async def fail(self, error: Exception) -> None:
        """A bug of ours as the answer."""
        logger.error("%s %s failed", self.method, self.path, exc_info=error)
        if not self.answered:
            await self._error(500, INTERNAL, {})

    async def _error(self, status: int, said: ErrorReply, headers: Mapping[str, str]) -> None:
        body = b"" if self.method == "HEAD" else said.model_dump_json().encode()
        await self.answer(status, {"content-type": "application/json", **headers}, body=body)

    def _leaves_much(self) -> bool:
        if self.body_read:
            return False
        length = self.content_length
        return length is None or length > _LEFT_OVER
