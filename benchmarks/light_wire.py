"""HTTP/1.1 of a light device, with as little of its own as asyncio allows: the server is what is measured."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

from light_tally import Tally

from fedops.core.contracts.assignments import PROTOCOL, PROTOCOL_HEADER

PREFIX = "/api/v1"
ANSWER_SECONDS = 60.0
_SLICE = 1 << 18


class Cut(ConnectionError):
    """The connection ended before the answer was complete."""


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


@dataclass
class Answer:
    """A response. ``body`` is empty when it was not kept."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    size: int = 0

    def json(self) -> Any:
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """HTTP/1.1, one request at a time. A body that is not kept is only counted."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport
        self._head = bytearray()
        self._answer: Answer | None = None
        self._left = 0
        self._keep: bytearray | None = None
        self._done: asyncio.Future[Answer] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._keeps_body = self._has_body = True

    async def ask(self, head: bytes, body: Sequence[bytes | memoryview], keep: bool) -> Answer:
        """Send a request; ``Cut`` when the connection ends before the answer is there."""
        done = self._done = asyncio.get_running_loop().create_future()
        self._keeps_body, self._has_body = keep, not head.startswith(b"HEAD ")
        self._transport.write(head)
        for block in body:
            view = memoryview(block)
            for start in range(0, len(view), _SLICE):
                await self._may_write.wait()
                if done.done() or not self.is_open:
                    self.close()  # answered before the end: the rest is not wanted
                    return await done
                self._transport.write(view[start : start + _SLICE])
        return await done

    def close(self) -> None:
        if self.is_open:
            self._transport.abort()

    # --- asyncio -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._may_write.set()
        if self._done is not None and not self._done.done():
            self._done.set_exception(Cut(str(error or "closed by the server")))

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data = bytes(self._head[end + 4 :])
            self._begin(bytes(self._head[:end]))
            self._head.clear()
        self._take(data)

    def _begin(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self._answer = Answer(int(first.split(" ", 2)[1]), headers)
        self._left = int(headers.get("content-length", 0)) if self._has_body else 0
        if (
            "transfer-encoding" in headers
        ):  # of no use to a device that wants to know how much comes
            self._left, self._answer.status = 0, 599
            self.close()
        keep = self._keeps_body or self._answer.status >= 400
        self._keep = bytearray() if keep else None

    def _take(self, data: bytes) -> None:
        answer = self._answer
        assert answer is not None
        self._left -= len(data)
        answer.size += len(data)
        if self._keep is not None:
            self._keep += data
        if self._left <= 0:
            answer.body = bytes(self._keep or b"")
            self._answer = self._keep = None
            if answer.headers.get("connection", "").lower() == "close":
                self.close()
            if self._done is not None and not self._done.done():
                self._done.set_result(answer)


@cache
def _trusting(authorities: str) -> ssl.SSLContext:
    """One for all devices of a process."""
    return ssl.create_default_context(cadata=authorities)


class Line:
    """A device's way to the server: a connection that is made again when it ended."""

    def __init__(self, url: str, token: str, tally: Tally, authorities: str = "") -> None:
        parts = urlsplit(url)
        self._tls = _trusting(authorities) if parts.scheme == "https" else None
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._base = parts.path.rstrip("/") + PREFIX
        self._common = (
            f"host: {parts.netloc}\r\nauthorization: Bearer {token}\r\n"
            f"{PROTOCOL_HEADER}: {PROTOCOL}\r\n"
        )
        self._connection: Connection | None = None
        self._tally = tally

    async def call(
        self,
        method: str,
        path: str,
        body: Sequence[bytes | memoryview] = (),
        *,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
        keep: bool = True,
        seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """One request. ``Refused``: an error status; ``ConnectionError``: no answer, or not all of it."""
        target = path if path.startswith(self._base) else self._base + path
        length = sum(len(block) for block in body)
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        if body or method in ("POST", "PATCH"):
            lines += f"content-type: {kind}\r\ncontent-length: {length}\r\n"
        head = f"{method} {target} HTTP/1.1\r\n{self._common}{lines}\r\n".encode()
        answer = await self._ask(head, body, keep, seconds)
        self._tally.calls += 1
        if answer.status >= 400:
            raise Refused(answer.status, answer.body[:300].decode(errors="replace"))
        return answer

    async def _ask(
        self, head: bytes, body: Sequence[bytes | memoryview], keep: bool, seconds: float
    ) -> Answer:
        used = self._connection
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connect()
                try:
                    return await connection.ask(head, body, keep)
                except Cut:
                    if connection is not used:
                        raise
                    # It was idle, and the server had closed it meanwhile.
                    return await (await self._connect()).ask(head, body, keep)
        except (TimeoutError, asyncio.CancelledError) as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise Cut(f"no answer in {seconds:.0f} s") from None
            raise

    async def _connect(self) -> Connection:
        if self._connection is None or not self._connection.is_open:
            loop = asyncio.get_running_loop()
            _, made = await loop.create_connection(
                Connection, self._host, self._port, ssl=self._tls
            )
            self._connection = made
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
