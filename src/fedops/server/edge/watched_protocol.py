"""HTTP/1.1 as uvicorn speaks it, with each connection in a ``ConnectionBook``."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fedops.server.edge.connections import SCOPE_KEY, Connection, ConnectionBook, Phase

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class WatchedProtocol(HttpToolsProtocol):
    """One connection. ``book`` knows what it does, and ends it when it takes too long."""

    _watched: Connection

    def __init__(self, book: ConnectionBook, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._book = book

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        watched = self._book.open(address, transport, self.loop.time())
        watched.paused = lambda: self.flow.read_paused
        self._watched = watched
        self.app_state = {**self.app_state, SCOPE_KEY: watched}

    def connection_lost(self, exc: Exception | None) -> None:
        self._book.close(self._watched)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        watched = self._watched
        if watched.phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        watched.came += len(data)
        super().data_received(data)
        if watched.phase is Phase.HEAD and watched.came > self._book.limits.head_bytes:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        self._enter(Phase.UPGRADED)
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._watched.phase is not Phase.HEAD:  # the next one came with the last
            self._enter(Phase.HEAD)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._enter(Phase.BODY)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._enter(Phase.ANSWER if self._answering() else Phase.IDLE)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._watched.phase is Phase.ANSWER and not self._answering():
            self._enter(Phase.IDLE)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _enter(self, phase: Phase) -> None:
        watched = self._watched
        watched.phase, watched.since, watched.came = phase, self.loop.time(), 0
